"""Where the extrema are, and whether and how often there is something at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._reduce import NO_VALUE, given, numpy_function, reduction, seeing_nan

_COUNT: Any = type(np.count_nonzero([True]))  # int in NumPy 2.0


@numpy_function(np.argmin)
def argmin(
    a: ArrayLike,
    axis: Any = None,
    out: Any = None,
    *,
    keepdims: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Index of the first minimum along an axis, or of the first NaN.

    Examples
    --------
    >>> tersor.argmin(np.array([3, 1, 1]))
    np.int64(1)
    """
    return _position("min", np.argmin, a, axis, out, given(keepdims=keepdims), backend)


@numpy_function(np.argmax)
def argmax(
    a: ArrayLike,
    axis: Any = None,
    out: Any = None,
    *,
    keepdims: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Index of the first maximum along an axis, or of the first NaN.

    Examples
    --------
    >>> tersor.argmax(np.array([[1, 5], [7, 2]]), axis=0)
    array([1, 0])
    """
    return _position("max", np.argmax, a, axis, out, given(keepdims=keepdims), backend)


@numpy_function(np.nanargmin)
def nanargmin(
    a: ArrayLike,
    axis: Any = None,
    out: Any = None,
    *,
    keepdims: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Index of the first minimum along an axis of what is not NaN.

    Examples
    --------
    >>> tersor.nanargmin(np.array([np.nan, 2.0, 1.0]))
    np.int64(2)
    """
    return _position("nanmin", np.nanargmin, a, axis, out, given(keepdims=keepdims), backend)


@numpy_function(np.nanargmax)
def nanargmax(
    a: ArrayLike,
    axis: Any = None,
    out: Any = None,
    *,
    keepdims: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Index of the first maximum along an axis of what is not NaN.

    Examples
    --------
    >>> tersor.nanargmax(np.array([np.nan, 2.0, 1.0]))
    np.int64(1)
    """
    return _position("nanmax", np.nanargmax, a, axis, out, given(keepdims=keepdims), backend)


def _position(
    op: str,
    function: Callable[..., Any],
    a: Any,
    axis: Any,
    out: Any,
    options: dict[str, Any],
    backend: str | None,
) -> Any:
    skip, call = op.startswith("nan"), None
    if not isinstance(axis, tuple):
        name = "nanarg" + op[3:] if skip else "arg" + op
        call = reduction(a, axis, out, options, backend, name, lambda own: np.dtype(np.intp))
    if call is None:
        return seeing_nan(function, a, axis=axis, out=out, **options)
    x, along = call.a, None if axis is None else call.axes[0]
    if x.dtype.kind in "biu":
        op, skip = op.removeprefix("nan"), False
    result = call.kernels.argreduce(op, x, along)
    if skip and call.on_gpu:
        if (call.reduce("count_numbers") == 0).any():
            raise ValueError("All-NaN slice encountered")
    elif skip:
        if along is None:
            found = np.asarray(x.flat[int(result)])
        else:
            found = np.take_along_axis(x, np.expand_dims(result, along), along)
        if (found != found).any() and (call.reduce("count_numbers") == 0).any():
            raise ValueError("All-NaN slice encountered")
    return call.finish(result)


@numpy_function(np.any)
def any(
    a: ArrayLike,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Whether any element is true; the whole array is only read if none is.

    Examples
    --------
    >>> tersor.any(np.array([[0, 0], [0, 1]]), axis=1)
    array([False,  True])
    """
    options = given(keepdims=keepdims, where=where)
    return _truth("any", np.any, a, axis, out, options, backend)


@numpy_function(np.all)
def all(
    a: ArrayLike,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Whether all elements are true; the whole array is only read if they are.

    Examples
    --------
    >>> tersor.all(np.array([1.0, np.nan]))
    np.True_
    """
    options = given(keepdims=keepdims, where=where)
    return _truth("all", np.all, a, axis, out, options, backend)


def _truth(
    op: str,
    function: Callable[..., Any],
    a: Any,
    axis: Any,
    out: Any,
    options: dict[str, Any],
    backend: str | None,
) -> Any:
    call = reduction(a, axis, out, options, backend, op, lambda own: np.dtype(np.bool_))
    if call is None:
        return function(a, axis=axis, out=out, **options)
    return call.finish(call.reduce(op))


@numpy_function(np.count_nonzero)
def count_nonzero(
    a: ArrayLike, axis: Any = None, *, keepdims: Any = False, backend: str | None = None
) -> Any:
    """How many elements are not zero; NaN is not.

    Examples
    --------
    >>> tersor.count_nonzero(np.array([0.0, -0.0, np.nan]))
    np.int64(1)
    """
    name, options = "count_nonzero", {"keepdims": keepdims}
    call = reduction(a, axis, None, options, backend, name, lambda own: np.dtype(np.intp))
    if call is None:
        return np.count_nonzero(a, axis, **options)
    result = call.finish(call.reduce("count_nonzero"))
    return _COUNT(result) if axis is None and not (keepdims or call.on_gpu) else result
