"""Means and variances over axes, of everything or of what is not NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple
from numpy.typing import ArrayLike

from ._backends import is_on_gpu
from ._reduce import (
    ACCURATE,
    NO_VALUE,
    float_dtype,
    given,
    numpy_function,
    precisely,
    reduction,
    result_dtype,
    warn,
)
from ._reduce_short import FLOAT64


@numpy_function(np.mean, ACCURATE)
def mean(
    a: ArrayLike,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Arithmetic mean over axes.

    Examples
    --------
    >>> tersor.mean(np.array([[1.0, 2.0], [3.0, 6.0]]), axis=1)
    array([1.5, 4.5])
    """
    options = given(keepdims=keepdims, where=where)

    def target(own: Any) -> Any:
        return result_dtype(dtype, float_dtype(own))

    call = reduction(a, axis, out, options, backend, "mean", target)
    if call is None:
        return precisely(np.mean, a, axis, dtype, out, options)
    large = call.a.dtype.itemsize == 8  # the sum of such integers could exceed int64
    if call.a.dtype.kind in "biu" and not large:
        result = call.reduce("sum").astype(FLOAT64) / call.count
    else:
        result = call.rounded("total" if large else "sum", call.count)
    return call.finish(call.warn_like(lambda: np.mean(call.a, axis), result))


@numpy_function(np.nanmean, ACCURATE)
def nanmean(
    a: ArrayLike,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Arithmetic mean over axes of what is not NaN.

    Examples
    --------
    >>> tersor.nanmean(np.array([1.0, np.nan, 3.0]))
    np.float64(2.0)
    """

    options = given(keepdims=keepdims, where=where)

    def target(own: Any) -> Any:
        return None if own.kind in "biu" else result_dtype(dtype, float_dtype(own))

    call = reduction(a, axis, out, options, backend, "nanmean", target)
    if call is None:
        return precisely(np.nanmean, a, axis, dtype, out, options)
    total, count = call.reduce("nansum"), call.reduce("count_numbers")
    with np.errstate(invalid="ignore"):
        result = total / count
    result = call.warn_like(lambda: np.nanmean(call.a, axis), result)
    if not call.warned and not call.on_gpu and not count.all():
        warn("Mean of empty slice", 3)
    return call.finish(result)


@numpy_function(np.average)
def average(
    a: ArrayLike,
    axis: Any = None,
    weights: ArrayLike | None = None,
    returned: bool = False,
    *,
    keepdims: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Weighted average over axes; with weights NumPy's own.

    Examples
    --------
    >>> tersor.average(np.array([1.0, 2.0]), returned=True)
    (np.float64(1.5), np.float64(2.0))
    """
    options = given(keepdims=keepdims)
    x: Any = a
    if weights is not None or not (type(x) is np.ndarray or is_on_gpu(x)):
        numpy_average: Any = np.average  # its overloads know no keepdims that may be missing
        return numpy_average(x, axis, weights, returned, **options)
    if axis is not None:
        axis = normalize_axis_tuple(axis, x.ndim, argname="axis")
    result = mean(x, axis, backend=backend, **options)
    array: Any = result if is_on_gpu(result) else np.asanyarray(result)  # of objects it is one
    count = array.dtype.type(x.size / array.size)
    if not returned:
        return result
    return result, np.full_like(result, count) if np.ndim(result) else count


@numpy_function(np.var, ACCURATE)
def var(
    a: ArrayLike,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Variance over axes: the mean squared deviation from the mean, in one pass over memory.

    Deviations are summed about an element of each leaf of the summation tree, and the leaves
    combined as Chan, Golub and LeVeque do (1979): a large mean costs no accuracy.

    Examples
    --------
    >>> tersor.var(np.array([1.0, 2.0, 3.0]), correction=1)
    np.float64(1.0)
    """
    options = given(keepdims=keepdims, where=where, mean=mean, correction=correction)
    return _variance(np.var, a, axis, dtype, out, ddof, options, backend)


@numpy_function(np.std, ACCURATE)
def std(
    a: ArrayLike,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Standard deviation over axes: the square root of `var`.

    Examples
    --------
    >>> tersor.std(np.array([1.0, 3.0]))
    np.float64(1.0)
    """
    options = given(keepdims=keepdims, where=where, mean=mean, correction=correction)
    return _variance(np.std, a, axis, dtype, out, ddof, options, backend)


@numpy_function(np.nanvar, ACCURATE)
def nanvar(
    a: ArrayLike,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Variance over axes of what is not NaN, as `var`.

    Examples
    --------
    >>> tersor.nanvar(np.array([1.0, np.nan, 3.0]))
    np.float64(1.0)
    """
    options = given(keepdims=keepdims, where=where, mean=mean, correction=correction)
    return _variance(np.nanvar, a, axis, dtype, out, ddof, options, backend)


@numpy_function(np.nanstd, ACCURATE)
def nanstd(
    a: ArrayLike,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Standard deviation over axes of what is not NaN: the square root of `nanvar`.

    Examples
    --------
    >>> tersor.nanstd(np.array([1.0, np.nan, 5.0]))
    np.float64(2.0)
    """
    options = given(keepdims=keepdims, where=where, mean=mean, correction=correction)
    return _variance(np.nanstd, a, axis, dtype, out, ddof, options, backend)


def _variance(
    function: Callable[..., Any],
    a: Any,
    axis: Any,
    dtype: Any,
    out: Any,
    ddof: Any,
    options: dict[str, Any],
    backend: str | None,
) -> Any:
    skip = function in (np.nanvar, np.nanstd)

    def target(own: Any) -> Any:
        return None if skip and own.kind in "biu" else result_dtype(dtype, float_dtype(own))

    less, known = ddof, {**options}
    if ddof == 0:  # NumPy refuses both
        less = known.pop("correction", 0)
    call, name = None, "nanvar" if skip else "var"
    if isinstance(less, int | float | np.integer | np.floating):
        call = reduction(a, axis, out, known, backend, name, target)
    if call is None or not (skip or call.count > less):
        return precisely(function, a, axis, dtype, out, {"ddof": ddof, **options})
    count, squares = call.kernels.moments(call.a, call.axes, skip)
    freedom = count - less
    with np.errstate(invalid="ignore", divide="ignore"):
        result = squares / freedom
        if function in (np.std, np.nanstd):
            result = np.sqrt(result)
    few = skip and (call.on_gpu or (freedom <= 0).any())
    if few:
        result = np.where(freedom <= 0, np.nan, result)
    result = call.warn_like(lambda: function(call.a, axis, ddof=less), result)
    if few and not call.warned and not call.on_gpu:
        warn("Degrees of freedom <= 0 for slice.", 4)
    return call.finish(result)
