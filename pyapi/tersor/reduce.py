"""NumPy's reductions: its signatures, dtypes, errors and warnings, on compiled kernels.

The kernels take arrays of at least 2**15 entries of bool, integer and float dtypes, bfloat16 too;
smaller ones, and whatever they do not cover (`where`, `initial`, `out`, `dtype`, objects, dates,
complex numbers, subclasses, foreign byte order), go to NumPy unchanged.

float16, bfloat16 and float32 are summed in float64 by the kernels: sums, means, variances and norms
are as exact as if the array were float64, along any axis, and have the same bits for any memory
layout and number of threads. NaN, inf, ties and empty arrays are NumPy's.
"""

from typing import Any

import numpy as np

from ._backends import array_function
from ._reductions import NO_VALUE, Axis, accurate, given, job, widest


@array_function
def sum(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """Sum along axes.

    Parameters, result, errors and warnings are those of `numpy.sum`; `backend` forces one
    for arrays that the kernels take.
    """
    options = given(keepdims=keepdims, initial=initial, where=where)
    work = job(a, axis, keepdims, backend, dtype, out, initial, where)
    if work is None:
        return np.sum(a, axis=axis, dtype=dtype, out=out, **options)
    sums, _ = work.kernels.total(work.x, False)
    return work.result(sums, None if work.dtype.kind not in "iub" else sums.dtype)


@array_function
def nansum(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """Sum along axes of what is not NaN.

    Parameters, result, errors and warnings are those of `numpy.nansum`; `backend` forces one
    for arrays that the kernels take.
    """
    options = given(keepdims=keepdims, initial=initial, where=where)
    work = job(a, axis, keepdims, backend, dtype, out, initial, where)
    if work is None:
        return np.nansum(a, axis=axis, dtype=dtype, out=out, **options)
    sums, _ = work.kernels.total(work.x, True)
    return work.result(sums, None if work.dtype.kind not in "iub" else sums.dtype)


@array_function
def prod(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """Product along axes.

    Parameters, result, errors and warnings are those of `numpy.prod`; `backend` forces one
    for arrays that the kernels take.
    """
    options = given(keepdims=keepdims, initial=initial, where=where)
    return np.prod(a, axis=axis, dtype=dtype, out=out, **options)


@array_function
def nanprod(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """Product along axes of what is not NaN.

    Parameters, result, errors and warnings are those of `numpy.nanprod`; `backend` forces one
    for arrays that the kernels take.
    """
    options = given(keepdims=keepdims, initial=initial, where=where)
    return np.nanprod(a, axis=axis, dtype=dtype, out=out, **options)


@array_function
def mean(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Arithmetic mean along axes; of integers in float64.

    Parameters, result, errors and warnings are those of `numpy.mean`; `backend` forces one
    for arrays that the kernels take.
    """
    work = job(a, axis, keepdims, backend, dtype, out, where)
    if work is None or widest(work):
        options = given(keepdims=keepdims, where=where)
        return np.mean(a, axis=axis, dtype=dtype, out=out, **options)
    sums, counts = work.kernels.total(work.x, False)
    return work.result(sums / counts, np.float64 if work.dtype.kind in "iub" else None)


@array_function
def nanmean(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Arithmetic mean along axes of what is not NaN.

    Parameters, result, errors and warnings are those of `numpy.nanmean`; `backend` forces one
    for arrays that the kernels take.
    """
    work = job(a, axis, keepdims, backend, dtype, out, where, floats=True)
    if work is not None:
        sums, counts = work.kernels.total(work.x, True)
        if counts.all():
            return work.result(sums / counts)
    # Slices of NaN alone: the result and the warning are NumPy's.
    options = given(keepdims=keepdims, where=where)
    return np.nanmean(a, axis=axis, dtype=dtype, out=out, **options)


@array_function
def average(
    a: Any,
    axis: Axis = None,
    weights: Any = None,
    returned: bool = False,
    *,
    keepdims: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Weighted mean along axes.

    Parameters, result, errors and warnings are those of `numpy.average`. Without weights it is
    `mean`; with them it is NumPy's.
    """
    if weights is None and not returned:
        work = job(a, axis, keepdims, backend)
        if work is not None:
            return mean(a, axis, keepdims=keepdims, backend=backend)
    numpy_average: Any = np.average  # its overloads know no keepdims that may be missing
    return numpy_average(a, axis, weights, returned, **given(keepdims=keepdims))


@array_function
def var(
    a: Any,
    axis: Axis = None,
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
    """Variance along axes: the mean of (a - mean)**2, in two passes.

    Parameters, result, errors and warnings are those of `numpy.var`; `backend` forces one
    for arrays that the kernels take.
    """
    freedom = ddof if correction is NO_VALUE else correction
    work = job(a, axis, keepdims, backend, dtype, out, where, mean)
    if work is not None and not widest(work) and (correction is NO_VALUE or ddof == 0):
        _, variance, counts = work.moments(freedom, False)
        if (counts > freedom).all():
            return work.result(variance, np.float64 if work.dtype.kind in "iub" else None)
    options = given(keepdims=keepdims, where=where, mean=mean, correction=correction)
    return np.var(a, axis=axis, dtype=dtype, out=out, ddof=ddof, **options)


@array_function
def std(
    a: Any,
    axis: Axis = None,
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
    """Standard deviation along axes: the root of the mean of (a - mean)**2, in two passes.

    Parameters, result, errors and warnings are those of `numpy.std`; `backend` forces one
    for arrays that the kernels take.
    """
    freedom = ddof if correction is NO_VALUE else correction
    work = job(a, axis, keepdims, backend, dtype, out, where, mean)
    if work is not None and not widest(work) and (correction is NO_VALUE or ddof == 0):
        _, variance, counts = work.moments(freedom, False)
        if (counts > freedom).all():
            return work.result(np.sqrt(variance), np.float64 if work.dtype.kind in "iub" else None)
    options = given(keepdims=keepdims, where=where, mean=mean, correction=correction)
    return np.std(a, axis=axis, dtype=dtype, out=out, ddof=ddof, **options)


@array_function
def nanvar(
    a: Any,
    axis: Axis = None,
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
    """Variance along axes of what is not NaN: the mean of (a - mean)**2, in two passes.

    Parameters, result, errors and warnings are those of `numpy.nanvar`; `backend` forces one
    for arrays that the kernels take.
    """
    freedom = ddof if correction is NO_VALUE else correction
    work = job(a, axis, keepdims, backend, dtype, out, where, mean, floats=True)
    if work is not None and not widest(work) and (correction is NO_VALUE or ddof == 0):
        _, variance, counts = work.moments(freedom, True)
        if (counts > freedom).all():
            return work.result(variance, np.float64 if work.dtype.kind in "iub" else None)
    options = given(keepdims=keepdims, where=where, mean=mean, correction=correction)
    return np.nanvar(a, axis=axis, dtype=dtype, out=out, ddof=ddof, **options)


@array_function
def nanstd(
    a: Any,
    axis: Axis = None,
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
    """Standard deviation along axes of what is not NaN: the root of the mean of (a - mean)**2.

    Parameters, result, errors and warnings are those of `numpy.nanstd`; `backend` forces one
    for arrays that the kernels take.
    """
    freedom = ddof if correction is NO_VALUE else correction
    work = job(a, axis, keepdims, backend, dtype, out, where, mean, floats=True)
    if work is not None and not widest(work) and (correction is NO_VALUE or ddof == 0):
        _, variance, counts = work.moments(freedom, True)
        if (counts > freedom).all():
            return work.result(np.sqrt(variance), np.float64 if work.dtype.kind in "iub" else None)
    options = given(keepdims=keepdims, where=where, mean=mean, correction=correction)
    return np.nanstd(a, axis=axis, dtype=dtype, out=out, ddof=ddof, **options)


@array_function
def max(
    a: Any,
    axis: Axis = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """Largest entry along axes; NaN where there is one.

    Parameters, result, errors and warnings are those of `numpy.max`; `backend` forces one
    for arrays that the kernels take.
    """
    work = job(a, axis, keepdims, backend, out, initial, where)
    if work is None:
        options = given(keepdims=keepdims, initial=initial, where=where)
        return np.max(a, axis=axis, out=out, **options)
    return work.result(work.kernels.extreme(work.x, True, False))


@array_function
def min(
    a: Any,
    axis: Axis = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """Smallest entry along axes; NaN where there is one.

    Parameters, result, errors and warnings are those of `numpy.min`; `backend` forces one
    for arrays that the kernels take.
    """
    work = job(a, axis, keepdims, backend, out, initial, where)
    if work is None:
        options = given(keepdims=keepdims, initial=initial, where=where)
        return np.min(a, axis=axis, out=out, **options)
    return work.result(work.kernels.extreme(work.x, False, False))


@array_function
def nanmax(
    a: Any,
    axis: Axis = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """Largest entry along axes, NaN left out.

    Parameters, result, errors and warnings are those of `numpy.nanmax`; `backend` forces one
    for arrays that the kernels take.
    """
    work = job(a, axis, keepdims, backend, out, initial, where, floats=True)
    if work is not None:
        values = work.kernels.extreme(work.x, True, True)
        if not np.isnan(values).any():
            return work.result(values)
    # Slices of NaN alone: the result and the warning are NumPy's.
    options = given(keepdims=keepdims, initial=initial, where=where)
    return np.nanmax(a, axis=axis, out=out, **options)


@array_function
def nanmin(
    a: Any,
    axis: Axis = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """Smallest entry along axes, NaN left out.

    Parameters, result, errors and warnings are those of `numpy.nanmin`; `backend` forces one
    for arrays that the kernels take.
    """
    work = job(a, axis, keepdims, backend, out, initial, where, floats=True)
    if work is not None:
        values = work.kernels.extreme(work.x, False, True)
        if not np.isnan(values).any():
            return work.result(values)
    # Slices of NaN alone: the result and the warning are NumPy's.
    options = given(keepdims=keepdims, initial=initial, where=where)
    return np.nanmin(a, axis=axis, out=out, **options)


@array_function
def amax(
    a: Any,
    axis: Axis = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """`max` by its older name.

    Parameters, result, errors and warnings are those of `numpy.amax`; `backend` forces one
    for arrays that the kernels take.
    """
    return max(a, axis, out, keepdims, initial, where, backend=backend)


@array_function
def amin(
    a: Any,
    axis: Axis = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """`min` by its older name.

    Parameters, result, errors and warnings are those of `numpy.amin`; `backend` forces one
    for arrays that the kernels take.
    """
    return min(a, axis, out, keepdims, initial, where, backend=backend)


@array_function
def ptp(
    a: Any,
    axis: Axis = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    *,
    backend: str | None = None,
) -> Any:
    """Range of the values along axes: max - min.

    Parameters, result, errors and warnings are those of `numpy.ptp`; `backend` forces one
    for arrays that the kernels take.
    """
    work = job(a, axis, keepdims, backend, out)
    if work is None or work.dtype == bool:
        return np.ptp(a, axis=axis, out=out, **given(keepdims=keepdims))
    largest, smallest = (work.kernels.extreme(work.x, side, False) for side in (True, False))
    with np.errstate(over="ignore", invalid="ignore"):
        return work.result(np.subtract(largest, smallest))


@array_function
def argmax(
    a: Any,
    axis: int | None = None,
    out: Any = None,
    *,
    keepdims: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Where the first of the largest entries along an axis is; the first NaN if there is one.

    Parameters, result, errors and warnings are those of `numpy.argmax`; `backend` forces one
    for arrays that the kernels take.
    """
    work = job(a, axis, keepdims, backend, out)
    if work is None or isinstance(axis, tuple):
        return np.argmax(a, axis=axis, out=out, **given(keepdims=keepdims))
    return work.result(work.kernels.arg_extreme(work.x, True, False), np.intp)


@array_function
def argmin(
    a: Any,
    axis: int | None = None,
    out: Any = None,
    *,
    keepdims: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Where the first of the smallest entries along an axis is; the first NaN if there is one.

    Parameters, result, errors and warnings are those of `numpy.argmin`; `backend` forces one
    for arrays that the kernels take.
    """
    work = job(a, axis, keepdims, backend, out)
    if work is None or isinstance(axis, tuple):
        return np.argmin(a, axis=axis, out=out, **given(keepdims=keepdims))
    return work.result(work.kernels.arg_extreme(work.x, False, False), np.intp)


@array_function
def nanargmax(
    a: Any,
    axis: int | None = None,
    out: Any = None,
    *,
    keepdims: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Where the first of the largest entries along an axis is, NaN left out.

    Parameters, result, errors and warnings are those of `numpy.nanargmax`; `backend` forces one
    for arrays that the kernels take.
    """
    work = job(a, axis, keepdims, backend, out, floats=True)
    if work is None or isinstance(axis, tuple) or _all_nan(work):
        return np.nanargmax(a, axis=axis, out=out, **given(keepdims=keepdims))
    return work.result(work.kernels.arg_extreme(work.x, True, True), np.intp)


@array_function
def nanargmin(
    a: Any,
    axis: int | None = None,
    out: Any = None,
    *,
    keepdims: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Where the first of the smallest entries along an axis is, NaN left out.

    Parameters, result, errors and warnings are those of `numpy.nanargmin`; `backend` forces one
    for arrays that the kernels take.
    """
    work = job(a, axis, keepdims, backend, out, floats=True)
    if work is None or isinstance(axis, tuple) or _all_nan(work):
        return np.nanargmin(a, axis=axis, out=out, **given(keepdims=keepdims))
    return work.result(work.kernels.arg_extreme(work.x, False, True), np.intp)


@array_function
def any(
    a: Any,
    axis: Axis = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Whether an entry along axes is true; NaN is.

    Parameters, result, errors and warnings are those of `numpy.any`; `backend` forces one
    for arrays that the kernels take.
    """
    return np.any(a, axis=axis, out=out, **given(keepdims=keepdims, where=where))


@array_function
def all(
    a: Any,
    axis: Axis = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    backend: str | None = None,
) -> Any:
    """Whether all entries along axes are true; NaN is.

    Parameters, result, errors and warnings are those of `numpy.all`; `backend` forces one
    for arrays that the kernels take.
    """
    return np.all(a, axis=axis, out=out, **given(keepdims=keepdims, where=where))


@array_function
def count_nonzero(
    a: Any, axis: Axis = None, *, keepdims: bool = False, backend: str | None = None
) -> Any:
    """How many entries along axes are not zero.

    Parameters, result, errors and warnings are those of `numpy.count_nonzero`; `backend` forces one
    for arrays that the kernels take.
    """
    work = job(a, axis, keepdims, backend)
    if work is None:
        return np.count_nonzero(a, axis=axis, keepdims=keepdims)
    return work.result(work.kernels.count(work.x), np.intp)


@array_function
def cumsum(
    a: Any,
    axis: int | None = None,
    dtype: Any = None,
    out: Any = None,
    *,
    backend: str | None = None,
) -> Any:
    """Running sum along an axis; of float16 and float32 in float64.

    Parameters, result, errors and warnings are those of `numpy.cumsum`; `backend` forces one
    for arrays that the kernels take.
    """
    x = np.asanyarray(a)
    if dtype is None and out is None and type(x) is np.ndarray and accurate(x.dtype):
        with np.errstate(over="ignore"):
            return np.cumsum(x, axis=axis, dtype=np.float64).astype(x.dtype)
    return np.cumsum(a, axis=axis, dtype=dtype, out=out)


@array_function
def nancumsum(
    a: Any,
    axis: int | None = None,
    dtype: Any = None,
    out: Any = None,
    *,
    backend: str | None = None,
) -> Any:
    """Running sum along an axis, NaN counted as 0; of float16 and float32 in float64.

    Parameters, result, errors and warnings are those of `numpy.nancumsum`; `backend` forces one
    for arrays that the kernels take.
    """
    x = np.asanyarray(a)
    if dtype is None and out is None and type(x) is np.ndarray and accurate(x.dtype):
        with np.errstate(over="ignore"):
            return np.nancumsum(x, axis=axis, dtype=np.float64).astype(x.dtype)
    return np.nancumsum(a, axis=axis, dtype=dtype, out=out)


@array_function
def cumprod(
    a: Any,
    axis: int | None = None,
    dtype: Any = None,
    out: Any = None,
    *,
    backend: str | None = None,
) -> Any:
    """Running product along an axis.

    Parameters, result, errors and warnings are those of `numpy.cumprod`; `backend` forces one
    for arrays that the kernels take.
    """
    return np.cumprod(a, axis=axis, dtype=dtype, out=out)


@array_function
def nancumprod(
    a: Any,
    axis: int | None = None,
    dtype: Any = None,
    out: Any = None,
    *,
    backend: str | None = None,
) -> Any:
    """Running product along an axis, NaN counted as 1.

    Parameters, result, errors and warnings are those of `numpy.nancumprod`; `backend` forces one
    for arrays that the kernels take.
    """
    return np.nancumprod(a, axis=axis, dtype=dtype, out=out)


@array_function
def norm(
    a: Any,
    ord: Any = None,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    backend: str | None = None,
) -> Any:
    """Vector or matrix norm; of float16 and float32 vectors summed in float64.

    Parameters, result, errors and warnings are those of `numpy.linalg.norm`; `backend` forces one
    for arrays that the kernels take.
    """
    euclidean = ord is None or (ord == 2 and (isinstance(axis, int) or np.ndim(a) == 1))
    work = job(a, axis, keepdims, backend, floats=True) if euclidean else None
    if work is None:
        return np.linalg.norm(a, ord, axis, keepdims)
    zeros = np.zeros((work.x.shape[0], work.x.shape[2]))
    return work.result(np.sqrt(work.kernels.squares(work.x, zeros, False)))


@array_function
def logsumexp(
    a: Any,
    axis: Axis = None,
    b: Any = None,
    keepdims: bool = False,
    return_sign: bool = False,
    *,
    backend: str | None = None,
) -> Any:
    """log(sum(b * exp(a))) along axes, without overflow.

    Parameters, result, errors and warnings are those of `scipy.special.logsumexp`.
    """
    from scipy.special import logsumexp as scipy_logsumexp

    return scipy_logsumexp(a, axis, b, keepdims, return_sign)


def _all_nan(work: Any) -> bool:
    """Whether a slice holds nothing but NaN: NumPy raises there."""
    return bool(np.isnan(work.kernels.extreme(work.x, True, True)).any())
