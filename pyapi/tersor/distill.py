"""Softmax and distillation losses, with their gradients, as plain array functions."""

from typing import Any

from numpy.typing import ArrayLike, NDArray

from ._backends import array_function, as_array, kernels
from ._dtypes import as_float
from ._rows import as_rows, normalize_axis


@array_function
def softmax(x: ArrayLike, axis: int | None = None, *, backend: str | None = None) -> NDArray[Any]:
    """exp(x) / sum(exp(x)) along an axis.

    Parameters
    ----------
    x : array, any shape, float16, bfloat16, float32, float64; integers and bools as float64
    axis : int, optional
        Axis that sums to one; the whole array if None.
    backend : str, optional
        Run on this backend instead of the one that owns `x`.

    Returns
    -------
    array of the shape and float dtype of `x`
        float16 and bfloat16 are computed in float32. An entry of -inf gives 0; a slice with NaN,
        with +inf or with nothing but -inf is NaN throughout, as in scipy.special.softmax. An empty
        slice stays empty.

    Raises
    ------
    TypeError
        `x` is complex or not numeric.
    ValueError
        `axis` is out of range.

    Examples
    --------
    >>> tersor.softmax([0.0, 0.0, -np.inf])
    array([0.5, 0.5, 0. ])
    """
    return _along(x, axis, "softmax", backend)


@array_function
def log_softmax(
    x: ArrayLike, axis: int | None = None, *, backend: str | None = None
) -> NDArray[Any]:
    """x - log(sum(exp(x))) along an axis: log(softmax(x)) without its underflow.

    Parameters, result, edge cases and errors are those of `softmax`, except that -inf
    stays -inf and that beside a +inf, itself NaN, finite entries are -inf.
    """
    return _along(x, axis, "log_softmax", backend)


def _along(x: ArrayLike, axis: int | None, name: str, backend: str | None) -> NDArray[Any]:
    x = as_float(as_array(x, "x"), "x")
    if axis is None or x.ndim == 0:
        if axis is not None:
            normalize_axis(axis, 1)
        rows, restore = x.reshape(1, -1), lambda out: out.reshape(x.shape)
    else:
        rows, restore = as_rows(x, normalize_axis(axis, x.ndim))
    return restore(getattr(kernels("distill", x, backend), name)(rows))
