"""Extrema over axes, of everything or of what is not NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._reduce import NO_VALUE, given, native, numpy_function, reduction, seeing_nan, warn


@numpy_function(np.min)
def min(
    a: ArrayLike,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """Minimum over axes; NaN where there is one.

    Examples
    --------
    >>> tersor.min(np.array([2, -3], np.int8))
    np.int8(-3)
    """
    options = given(keepdims=keepdims, initial=initial, where=where)
    return _extremum("min", np.min, a, axis, out, options, backend)


@numpy_function(np.max)
def max(
    a: ArrayLike,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """Maximum over axes; NaN where there is one.

    Examples
    --------
    >>> tersor.max(np.array([[1.0, 4.0], [3.0, np.nan]]), axis=1)
    array([ 4., nan])
    """
    options = given(keepdims=keepdims, initial=initial, where=where)
    return _extremum("max", np.max, a, axis, out, options, backend)


@numpy_function(np.amin)
def amin(
    a: ArrayLike,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """`min` by its older name.

    Examples
    --------
    >>> tersor.amin(np.array([2, 1]))
    np.int64(1)
    """
    options = given(keepdims=keepdims, initial=initial, where=where)
    return _extremum("min", np.min, a, axis, out, options, backend)


@numpy_function(np.amax)
def amax(
    a: ArrayLike,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """`max` by its older name.

    Examples
    --------
    >>> tersor.amax(np.array([2, 1]))
    np.int64(2)
    """
    options = given(keepdims=keepdims, initial=initial, where=where)
    return _extremum("max", np.max, a, axis, out, options, backend)


@numpy_function(np.nanmin)
def nanmin(
    a: ArrayLike,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """Minimum over axes of what is not NaN; NaN, with a warning, where there is nothing else.

    Examples
    --------
    >>> tersor.nanmin(np.array([2.0, np.nan]))
    np.float64(2.0)
    """
    options = given(keepdims=keepdims, initial=initial, where=where)
    return _extremum("nanmin", np.nanmin, a, axis, out, options, backend)


@numpy_function(np.nanmax)
def nanmax(
    a: ArrayLike,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """Maximum over axes of what is not NaN; NaN, with a warning, where there is nothing else.

    Examples
    --------
    >>> tersor.nanmax(np.array([2.0, np.nan]))
    np.float64(2.0)
    """
    options = given(keepdims=keepdims, initial=initial, where=where)
    return _extremum("nanmax", np.nanmax, a, axis, out, options, backend)


def _extremum(
    op: str,
    function: Callable[..., Any],
    a: Any,
    axis: Any,
    out: Any,
    options: dict[str, Any],
    backend: str | None,
) -> Any:
    skip = op.startswith("nan")
    call = reduction(a, axis, out, options, backend, op, native)
    if call is None:
        if type(a) is np.ndarray and not skip:
            return getattr(a, op)(axis, out, **options)  # what NumPy's function comes to
        return seeing_nan(function, a, axis=axis, out=out, **options)
    if not skip or call.a.dtype.kind in "biu":
        return call.finish(call.reduce(op.removeprefix("nan")))
    result = call.reduce(op)
    if call.on_gpu:
        empty = call.reduce("count_numbers") == 0
        return call.finish(np.where(empty, result.dtype.type(np.nan), result))
    if np.isinf(result).any():  # what a kernel finds where there is only NaN
        empty = call.reduce("count_numbers") == 0
        if empty.any():
            result = np.where(empty, result.dtype.type(np.nan), result)
            warn("All-NaN slice encountered", 4)
    return call.finish(result)


@numpy_function(np.ptp)
def ptp(
    a: ArrayLike,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """Peak to peak: maximum minus minimum, wrapping round in integer dtypes.

    Examples
    --------
    >>> tersor.ptp(np.array([1.5, -1.0, 4.0]))
    np.float64(5.0)
    """
    options = given(keepdims=keepdims)

    def target(own: Any) -> Any:
        return None if own.kind == "b" else native(own)

    call = reduction(a, axis, out, options, backend, "ptp", target)
    if call is None:
        return np.ptp(a, axis=axis, out=out, **options)
    high, low = (call.reduce(op).astype(call.dtype) for op in ("max", "min"))
    result = np.subtract(high, low)
    return call.finish(result if call.on_gpu else np.asarray(result))
