"""Running sums and products, of everything or of what is not NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._reduce import (
    ACCURATE,
    fits,
    numpy_function,
    precisely,
    reduction,
    result_dtype,
    seeing_nan,
    sum_dtype,
)


@numpy_function(np.cumsum, ACCURATE)
def cumsum(
    a: ArrayLike,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    *,
    backend: str | None = None,
) -> Any:
    """Running sum along an axis: it never falls where nothing is negative.

    Examples
    --------
    >>> tersor.cumsum(np.array([[1, 2], [3, 4]]), axis=1)
    array([[1, 3],
           [3, 7]])
    """
    return _scan("sum", np.cumsum, a, axis, dtype, out, backend)


@numpy_function(np.cumprod, ACCURATE)
def cumprod(
    a: ArrayLike,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    *,
    backend: str | None = None,
) -> Any:
    """Running product along an axis.

    Examples
    --------
    >>> tersor.cumprod(np.array([2, 3, 4]))
    array([ 2,  6, 24])
    """
    return _scan("prod", np.cumprod, a, axis, dtype, out, backend)


@numpy_function(np.nancumsum, ACCURATE)
def nancumsum(
    a: ArrayLike,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    *,
    backend: str | None = None,
) -> Any:
    """Running sum along an axis, NaN counted as 0.

    Examples
    --------
    >>> tersor.nancumsum(np.array([1.0, np.nan, 3.0]))
    array([1., 1., 4.])
    """
    return _scan("nansum", np.nancumsum, a, axis, dtype, out, backend)


@numpy_function(np.nancumprod, ACCURATE)
def nancumprod(
    a: ArrayLike,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    *,
    backend: str | None = None,
) -> Any:
    """Running product along an axis, NaN counted as 1.

    Examples
    --------
    >>> tersor.nancumprod(np.array([2.0, np.nan, 3.0]))
    array([2., 2., 6.])
    """
    return _scan("nanprod", np.nancumprod, a, axis, dtype, out, backend)


def _scan(
    op: str,
    function: Callable[..., Any],
    a: Any,
    axis: Any,
    dtype: Any,
    out: Any,
    backend: str | None,
) -> Any:
    def target(own: Any) -> Any:
        return result_dtype(dtype, sum_dtype(own))

    call = None
    if not isinstance(axis, tuple):
        call = reduction(a, axis, None, {}, backend, "scan", target)
    if out is not None and type(a) is np.ndarray:
        shape = (a.size,) if axis is None or a.ndim == 0 else a.shape
        if not fits(out, shape, result_dtype(dtype, sum_dtype(a.dtype))):
            return seeing_nan(function, a, axis=axis, dtype=dtype, out=out)
    if call is None:
        return precisely(function, a, axis, dtype, out, {})
    x, along = (call.a.reshape(-1), 0) if axis is None else (call.a, call.axes[0])
    if x.dtype.kind in "biu":
        op = op.removeprefix("nan")
    wide = np.dtype(np.float64) if call.dtype.itemsize == 2 else call.dtype
    result = call.kernels.scan(op, x, along, wide)
    if call.on_gpu:
        result = result.astype(call.dtype, copy=False)
    elif x.dtype.kind not in "biu":
        last = result.take(-1, axis=along)
        last = call.warn_like(lambda: function(call.a, axis), last, np.add.accumulate)
        warned = call.warned or np.isinf(last).any()
        with np.errstate(over="ignore" if warned else None):
            result = result.astype(call.dtype, copy=False)
    if out is None:
        return result
    out[...] = result
    return out
