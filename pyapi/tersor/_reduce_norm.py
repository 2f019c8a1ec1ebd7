"""Norms, and the logarithm of a sum of exponentials."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple
from numpy.typing import ArrayLike

from ._backends import array_function
from ._reduce import (
    ACCURATE,
    Reduction,
    float_dtype,
    in_order,
    native,
    numpy_function,
    reduction,
)
from ._reduce_short import FLOAT64


@numpy_function(np.linalg.norm, ACCURATE)
def norm(
    x: ArrayLike,
    ord: Any = None,
    axis: Any = None,
    keepdims: Any = False,
    *,
    backend: str | None = None,
) -> Any:
    """Norm of vectors or matrices.

    Kernels have the orders None, 2, "fro", 1, inf and 0 of vectors, and None, "fro", 1, -1, inf and
    -inf of matrices. Other powers and singular values are NumPy's.

    Examples
    --------
    >>> tersor.norm(np.array([3.0, 4.0]))
    np.float64(5.0)
    """
    call = reduction(x, axis, None, {"keepdims": keepdims}, backend, "norm", _norm_dtype)
    if call is not None:
        result = _norm(call, ord, axis)
        if result is not None:
            result = call.warn_like(lambda: np.linalg.norm(x, ord, axis), result)
            return call.finish(result)
    if (
        type(x) is np.ndarray
        and x.dtype.kind == "f"
        and call is None
        and not (x.dtype.itemsize > 8 or _is_singular(x, ord, axis))
    ):
        result = np.linalg.norm(in_order(x).astype(FLOAT64, copy=False), ord, axis, keepdims)
        return result.astype(native(x.dtype), copy=False)
    return np.linalg.norm(x, ord, axis, keepdims)


def _is_singular(x: Any, ord: Any, axis: Any) -> bool:
    """Whether the norm is one of singular values, which LAPACK finds in the array's own dtype."""
    axes = x.ndim if axis is None else len(axis) if isinstance(axis, tuple) else 1
    return axes == 2 and ord in (2, -2, "nuc")


def _norm_dtype(dtype: Any) -> Any:
    """NumPy's norms of what is no float of its own, bfloat16 too, are float64."""
    return native(dtype) if dtype.kind == "f" else FLOAT64


def _norm(call: Reduction, ord: Any, axis: Any) -> Any:
    """The norm in float64, or None if no kernel has it or NumPy will refuse it."""
    count = len(call.axes)
    frobenius = ord is None or ord in ("fro", "f")
    if (ord is None and axis is None) or (count == 1 and (ord is None or ord == 2)):
        return np.sqrt(call.reduce("sum_squares"))
    if count == 2 and frobenius:
        return np.sqrt(call.reduce("sum_squares"))
    if count == 1 and ord == 1:
        return call.reduce("sum_abs")
    if count == 1 and ord == 0:
        return call.reduce("count_nonzero")
    if count == 1 and ord == np.inf:
        high, low = (abs(call.reduce(op).astype(FLOAT64)) for op in ("max", "min"))
        return np.maximum(high, low)
    if count == 2 and ord in (1, -1, np.inf, -np.inf):
        row, column = call.axes if axis is None else normalize_axis_tuple(axis, call.a.ndim)
        summed, left = (row, column) if abs(ord) == 1 else (column, row)
        sums = call.reduce("sum_abs", (summed,))
        return (np.max if ord > 0 else np.min)(sums, axis=left - (left > summed))
    return None


@array_function
def logsumexp(
    a: ArrayLike,
    axis: Any = None,
    b: ArrayLike | None = None,
    keepdims: Any = False,
    return_sign: Any = False,
    *,
    backend: str | None = None,
) -> Any:
    """log(sum(b * exp(a))) over axes, without overflow, as scipy.special.logsumexp.

    Parameters
    ----------
    a : array, any shape; float16, bfloat16 and float32 are computed in float32, added in float64
    axis : int or tuple of int, optional
        Axes to sum over; the whole array if None.
    b : array, optional
        Weights that broadcast with `a`. With weights, SciPy computes.
    keepdims : bool
        Keep the axes that are summed over, with size 1.
    return_sign : bool
        Return (logarithm of the absolute value, sign). SciPy computes it.
    backend : str, optional
        Run on this backend.

    Returns
    -------
    scalar or array of the float dtype of `a`; float64 of integers and bools
        An inf gives inf, nothing but -inf (or nothing at all) -inf, NaN gives NaN. A sum that is
        little more than its largest term keeps its digits: m + log1p(sum of the others).

    Raises
    ------
    ValueError
        `axis` is out of range.

    Notes
    -----
    Results do not depend on the memory layout or on the number of threads. Complex and other
    arrays that no kernel covers go to SciPy.

    Examples
    --------
    >>> tersor.logsumexp(np.array([1000.0, 1000.0])).round(4)
    np.float64(1000.6931)
    """
    if b is None and not return_sign:
        call = reduction(a, axis, None, {"keepdims": keepdims}, backend, "logsumexp", float_dtype)
        if call is not None:
            return call.finish(call.kernels.logsumexp(call.a, call.axes))
    from scipy.special import logsumexp as scipy_logsumexp

    return scipy_logsumexp(a, axis, b, keepdims, return_sign)
