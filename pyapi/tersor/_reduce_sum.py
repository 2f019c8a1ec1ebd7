"""Sums and products over axes, of everything or of what is not NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._reduce import (
    ACCURATE,
    FLOAT64,
    NO_VALUE,
    given,
    numpy_function,
    precisely,
    reduction,
    result_dtype,
    sum_dtype,
)


@numpy_function(np.sum, ACCURATE)
def sum(
    a: ArrayLike,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """Sum over axes.

    Examples
    --------
    >>> tersor.sum(np.array([[1, 2], [3, 4]], np.int8), axis=0)
    array([4, 6])
    """
    options = given(keepdims=keepdims, initial=initial, where=where)
    return _accumulate("sum", np.sum, np.add, a, axis, dtype, out, options, backend)


@numpy_function(np.nansum, ACCURATE)
def nansum(
    a: ArrayLike,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """Sum over axes of what is not NaN: 0 where there is nothing else.

    Examples
    --------
    >>> tersor.nansum(np.array([1.0, np.nan, 3.0]))
    np.float64(4.0)
    """
    options = given(keepdims=keepdims, initial=initial, where=where)
    return _accumulate("nansum", np.nansum, None, a, axis, dtype, out, options, backend)


@numpy_function(np.prod, ACCURATE)
def prod(
    a: ArrayLike,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """Product over axes.

    Examples
    --------
    >>> tersor.prod(np.array([[1, 2], [3, 4]]), axis=1)
    array([ 2, 12])
    """
    options = given(keepdims=keepdims, initial=initial, where=where)
    return _accumulate("prod", np.prod, np.multiply, a, axis, dtype, out, options, backend)


@numpy_function(np.nanprod, ACCURATE)
def nanprod(
    a: ArrayLike,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """Product over axes of what is not NaN: 1 where there is nothing else.

    Examples
    --------
    >>> tersor.nanprod(np.array([[2.0, np.nan], [3.0, 4.0]]), axis=1)
    array([ 2., 12.])
    """
    options = given(keepdims=keepdims, initial=initial, where=where)
    return _accumulate("nanprod", np.nanprod, None, a, axis, dtype, out, options, backend)


def _accumulate(
    op: str,
    function: Callable[..., Any],
    ufunc: np.ufunc | None,
    a: Any,
    axis: Any,
    dtype: Any,
    out: Any,
    options: dict[str, Any],
    backend: str | None,
) -> Any:
    def target(own: Any) -> Any:
        return result_dtype(dtype, sum_dtype(own))

    call = reduction(a, axis, out, options, backend, op, target)
    if call is None:
        if ufunc is not None and type(a) is np.ndarray:
            function = ufunc.reduce  # what NumPy's function comes to
        return precisely(function, a, axis, dtype, out, options)
    result = call.reduce(op if call.a.dtype.kind not in "biu" else op.removeprefix("nan"))
    if result.dtype == FLOAT64:
        result = call.warn_like(lambda: function(call.a, axis), result)
    return call.finish(result)
