"""Top-k, partitions and order statistics: NumPy's functions, by exact radix selection."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arguments import as_index, check_flag, check_one_of
from ._backends import array_function, as_array, kernels
from ._order_statistics import (
    TopK,
    any_median,
    any_quantile,
    is_ranked,
    is_small,
    native,
    partition_job,
)
from ._rows import axis_last, normalize_axis

Axis = int | tuple[int, ...] | None


@array_function
def top_k(
    a: ArrayLike,
    k: int,
    /,
    *,
    axis: int | None = -1,
    mode: Literal["largest", "smallest"] = "largest",
    sorted: bool = True,
    backend: str | None = None,
) -> TopK:
    """The k largest or smallest entries along an axis, and where they are.

    `numpy.top_k` of NumPy 2.6, with the choice among equal entries fixed: the lowest index first,
    whatever the backend, the memory layout and the number of threads.

    Parameters
    ----------
    a : array, any shape, numeric
        bfloat16 too.
    k : int in 0..n
        n is the size of `axis`.
    axis : int or None
        The whole array, flattened, if None.
    mode : "largest" or "smallest"
        NaN come last in both. 0.0 and -0.0 are equal.
    sorted : bool
        Best entry first; else in the order of their indices.
    backend : str, optional
        Run on this backend instead of the one that owns `a`.

    Returns
    -------
    (values, indices), a named tuple
        values : the dtype of `a`, its shape with k for `axis`
        indices : int64, the same shape

    Raises
    ------
    TypeError
        `a` is not numeric or `k` no int.
    ValueError
        `k`, `axis` or `mode` is out of range, or `a` is 0-D and `axis` not None.

    Examples
    --------
    >>> tersor.top_k(np.array([5, 2, 9, 9, 1]), 3)
    TopK(values=array([9, 9, 5]), indices=array([2, 3, 0]))
    """
    x = as_array(a, "a")
    check_one_of(mode, ("largest", "smallest"), "mode")
    check_flag(sorted, "sorted")
    k = as_index(k, "k")
    if not is_ranked(x.dtype):
        if x.dtype.kind not in "fc":
            raise TypeError(f"a must be numeric, got {x.dtype}")
        backend = "reference"  # complex and extended precision
    x = x.reshape(-1) if axis is None else x
    rows, restore = axis_last(native(x), normalize_axis(-1 if axis is None else axis, x.ndim, "a"))
    if not 0 <= k <= rows.shape[-1]:
        raise ValueError(f"k must be in 0..{rows.shape[-1]}, got {k}")
    values, indices = kernels("select", x, backend).top_k(rows, k, mode == "largest", sorted)
    return TopK(restore(values), restore(indices))


@array_function
def partition(
    a: ArrayLike,
    kth: ArrayLike,
    axis: int | None = -1,
    kind: Any = "introselect",
    order: Any = None,
    *,
    backend: str | None = None,
) -> NDArray[Any]:
    """A copy in which the entries at places `kth` are those that sorting would put there.

    No smaller ones come after them and no larger ones before. Parameters, errors and the place of
    NaN, at the end, are those of `numpy.partition`; bfloat16 too. On both sides of one `kth` the
    entries keep their order.

    Examples
    --------
    >>> tersor.partition(np.array([7, 1, 9, 3, 3]), 2)
    array([1, 3, 3, 7, 9])
    """
    result: Any
    if is_small(a, backend, "partition"):
        result = a.flatten() if axis is None else a.copy("K")  # type: ignore[union-attr]
        result.partition(kth, -1 if axis is None else axis, kind, order)
        return result  # type: ignore[no-any-return]
    job = partition_job(a, kth, axis, kind, order, backend, False)
    if job is None:
        numpy: Any = np.partition
        result = numpy(a, kth, axis, kind, order)
    else:
        rows, places, restore = job
        result = restore(kernels("select", rows, backend).partition(rows, places))
    return result  # type: ignore[no-any-return]


@array_function
def argpartition(
    a: ArrayLike,
    kth: ArrayLike,
    axis: int | None = -1,
    kind: Any = "introselect",
    order: Any = None,
    *,
    backend: str | None = None,
) -> NDArray[np.int64]:
    """The indices that would partition an array, as `partition` does.

    Parameters and errors are those of `numpy.argpartition`.

    Examples
    --------
    >>> tersor.argpartition(np.array([7, 1, 9, 3, 3]), 2)
    array([1, 3, 4, 0, 2])
    """
    result: Any
    if is_small(a, backend, "argpartition"):
        result = a.argpartition(kth, axis, kind, order)  # type: ignore[union-attr]
        return result  # type: ignore[no-any-return]
    job = partition_job(a, kth, axis, kind, order, backend, True)
    if job is None:
        numpy: Any = np.argpartition
        result = numpy(a, kth, axis, kind, order)
    else:
        rows, places, restore = job
        result = restore(kernels("select", rows, backend).argpartition(rows, places))
    return result  # type: ignore[no-any-return]


@array_function
def median(
    a: ArrayLike,
    axis: Axis = None,
    out: Any = None,
    overwrite_input: bool = False,
    keepdims: bool = False,
    *,
    backend: str | None = None,
) -> Any:
    """The median along axes: the middle entry, or the mean of the two in the middle.

    Parameters, result, errors and warnings are those of `numpy.median`; a slice with NaN gives
    NaN. bfloat16 too. `overwrite_input` is accepted; the input is never modified.

    Examples
    --------
    >>> float(tersor.median(np.array([7.0, 1.0, 9.0, 3.0])))
    5.0
    """
    options = axis, out, overwrite_input, keepdims
    return any_median(np.median, a, *options, False, backend)


@array_function
def nanmedian(
    a: ArrayLike,
    axis: Axis = None,
    out: Any = None,
    overwrite_input: bool = False,
    keepdims: bool = False,
    *,
    backend: str | None = None,
) -> Any:
    """The median along axes of what is not NaN; NaN and a RuntimeWarning where all is.

    Parameters, result and errors are those of `numpy.nanmedian`.

    Examples
    --------
    >>> float(tersor.nanmedian(np.array([7.0, np.nan, 3.0])))
    5.0
    """
    options = axis, out, overwrite_input, keepdims
    return any_median(np.nanmedian, a, *options, True, backend)


@array_function
def quantile(
    a: ArrayLike,
    q: ArrayLike,
    axis: Axis = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
    backend: str | None = None,
) -> Any:
    """The q-th quantiles along axes, q in 0..1.

    Parameters, result, errors and warnings are those of `numpy.quantile`, with every `method`; a
    slice with NaN gives NaN. bfloat16 too, and there is no limit on the size. Two differences:
    integers of up to 32 bits are subtracted without overflow, and `overwrite_input` modifies
    nothing.

    Examples
    --------
    >>> tersor.quantile(np.arange(11.0), [0.25, 0.5])
    array([2.5, 5. ])
    """
    options = axis, out, overwrite_input, method, keepdims, weights
    return any_quantile(np.quantile, a, q, *options, False, False, backend)


@array_function
def percentile(
    a: ArrayLike,
    q: ArrayLike,
    axis: Axis = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
    backend: str | None = None,
) -> Any:
    """The q-th percentiles along axes, q in 0..100: `quantile` of q / 100, as `numpy.percentile`.

    Examples
    --------
    >>> float(tersor.percentile(np.arange(11.0), 25))
    2.5
    """
    options = axis, out, overwrite_input, method, keepdims, weights
    return any_quantile(np.percentile, a, q, *options, True, False, backend)


@array_function
def nanquantile(
    a: ArrayLike,
    q: ArrayLike,
    axis: Axis = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
    backend: str | None = None,
) -> Any:
    """`quantile` of what is not NaN; NaN and a RuntimeWarning where all is, as `numpy.nanquantile`.

    Examples
    --------
    >>> float(tersor.nanquantile(np.array([7.0, np.nan, 3.0]), 0.5))
    5.0
    """
    options = axis, out, overwrite_input, method, keepdims, weights
    return any_quantile(np.nanquantile, a, q, *options, False, True, backend)


@array_function
def nanpercentile(
    a: ArrayLike,
    q: ArrayLike,
    axis: Axis = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
    backend: str | None = None,
) -> Any:
    """`percentile` of what is not NaN, as `numpy.nanpercentile`.

    Examples
    --------
    >>> float(tersor.nanpercentile(np.array([7.0, np.nan, 3.0]), 50))
    5.0
    """
    options = axis, out, overwrite_input, method, keepdims, weights
    return any_quantile(np.nanpercentile, a, q, *options, True, True, backend)
