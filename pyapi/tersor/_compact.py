"""Matrices without the channels that pruning has emptied."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._backends import array_function, as_array
from ._rows import normalize_axis


@array_function
def compact(
    first: ArrayLike,
    second: ArrayLike,
    *,
    keep: ArrayLike | None = None,
    axis: int = 0,
    second_axis: int = 1,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Drop the channels between two layers that pruning has emptied: both become smaller.

    second @ f(first @ x) stays the same where f(0) = 0, as of ReLU, and nothing is added to an
    emptied channel; a bias of the first layer becomes bias[kept], and what the dropped channels
    gave, second[:, dropped] @ f(bias[dropped]), belongs to the bias of the second.

    Parameters
    ----------
    first : array, such as the weight (channels, in) of a layer, or of a convolution
    second : array, such as the weight (out, channels) of the next layer
        Its length along `second_axis` is g times the number of channels, g = 1, 2, ...: each
        channel then is g neighbours, as where the pixels of a convolution are flattened.
    keep : bool array of shape (channels,), optional
        The channels to keep; by default those of which not all entries of `first` are 0. NaN is
        not 0.
    axis, second_axis : int
        Along which axes the channels lie.

    Returns
    -------
    first, second : arrays without the dropped channels
    kept : int64 array
        The numbers of the channels that are left.

    Raises
    ------
    TypeError
        `keep` is not bool.
    ValueError
        The numbers of channels do not match.

    See Also
    --------
    prune : with pattern=(1, None) it empties whole rows.

    Examples
    --------
    >>> first = tersor.prune(np.array([[1.0, 2.0], [0.1, 0.1], [3.0, 0.0]]), k=2, pattern=(1, None))
    >>> first, second, kept = tersor.compact(first, np.array([[1.0, 2.0, 3.0]]))
    >>> first, second, kept
    (array([[1., 2.], [3., 0.]]), array([[1., 3.]]), array([0, 2]))
    """
    a, b = as_array(first, "first"), as_array(second, "second")
    axis = normalize_axis(axis, a.ndim, "first")
    second_axis = normalize_axis(second_axis, b.ndim, "second")
    channels, length = a.shape[axis], b.shape[second_axis]
    if length % channels if channels else length:
        raise ValueError(
            f"second must have a multiple of {channels} entries along axis {second_axis}, as first "
            f"has {channels} channels, got {length}"
        )
    if keep is None:
        mask = (a != 0).any(axis=tuple(i for i in range(a.ndim) if i != axis))
    else:
        mask = as_array(keep, "keep")
        if mask.dtype != bool:
            raise TypeError(f"keep must be bool, got {mask.dtype}")
        if mask.shape != (channels,):
            raise ValueError(f"keep must have shape ({channels},), got {mask.shape}")
    (kept,) = mask.nonzero()
    each = mask.repeat(length // max(channels, 1)).nonzero()[0]
    return a.take(kept, axis=axis), b.take(each, axis=second_axis), kept
