"""Which range of values the integers should cover, from data at hand or streamed."""

from __future__ import annotations

from math import isfinite
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ._arguments import as_index, as_number, check_one_of
from ._backends import array_function, as_array, kernels
from ._dtypes import as_float
from ._rows import normalize_axis
from ._scales import Scheme, scheme_of

METHODS = ("absmax", "percentile", "mse", "entropy")
BINS = 2048  # of magnitudes; twice as many with the sign
_SHRINKS = np.arange(100, 20, -1) / 100  # of the mse search
_GROUPS = 4096  # scales searched at a time


class Calibrator:
    """Fits a scale and a zero point to arrays that come one after another, in bounded memory.

    Parameters
    ----------
    dtype, axis, symmetric, method, percentile, compat
        As in `quantize`. With an axis, all arrays must have the same length along it.

    Notes
    -----
    absmax keeps the least and the largest entry. The others also keep, for each scale, a histogram
    of 4096 equal bins over (-2**e, 2**e), where 2**e is just above the largest magnitude so far:
    when that grows, neighbouring bins are added up, so that the counts are those that all data
    would have given at once. The result does not depend on the order or the grouping of the data,
    in the last bit: `update` and `merge` commute. It is bounded by the width of a bin, at most
    2**-10 of the largest magnitude: percentile is the true one within it, and mse takes every entry
    for the middle of its bin.

    Examples
    --------
    >>> c = tersor.Calibrator(method="absmax", symmetric=False)
    >>> c.update([0.5, 2.0]).update([-0.55, 1.0]).zero_point
    array(-73, dtype=int8)
    """

    def __init__(
        self,
        *,
        dtype: DTypeLike | str = "int8",
        axis: int | None = None,
        symmetric: bool = True,
        method: str = "absmax",
        percentile: float = 99.99,
        compat: str | None = None,
    ) -> None:
        self._scheme = scheme_of(dtype, symmetric, compat)
        check_method(method, percentile)
        self._method = method
        self._axis = None if axis is None else as_index(axis, "axis")
        self._percentile = as_number(percentile, "percentile")
        self._wide = False
        self._low: Any = None  # float64, of the shape of the scales; None before any data
        self._high: Any = None
        self._exponents: Any = None
        self._counts: Any = None
        self._entries = self._nans = 0

    def update(self, x: ArrayLike, *, backend: str | None = None) -> Self:
        """Take in an array; returns the Calibrator.

        Raises TypeError for dtypes that `quantize` does not take, ValueError for infinities and
        where the length along `axis` changes.
        """
        _observe(x, self, backend)
        return self

    def merge(self, other: Calibrator) -> Self:
        """Take in all that another Calibrator with the same options has seen; returns this one."""
        if not isinstance(other, Calibrator):
            raise TypeError(f"other must be a Calibrator, got {type(other).__name__}")
        if self._options() != other._options():
            raise ValueError(f"other must have the same options, got {other!r} for {self!r}")
        if other._low is not None:
            self._add(other._low, other._high, other._exponents, other._counts)
        self._wide |= other._wide
        self._entries += other._entries
        self._nans += other._nans
        return self

    @property
    def count(self) -> int:
        """Entries seen, NaN included."""
        return self._entries

    @property
    def nan_count(self) -> int:
        """NaN seen; they do not count for the range."""
        return self._nans

    @property
    def range(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Least and largest value that the integers cover, 0 counted in."""
        if self._low is None:
            raise ValueError("update the Calibrator with an array first")
        low, high = np.minimum(self._low, 0), np.maximum(self._high, 0)
        shape, dtype = self._low.shape, np.float64 if self._wide else np.float32
        if self._method != "absmax":
            args = (low.reshape(-1), high.reshape(-1), self._counts, self._exponents)
            module = kernels("quantize", self._counts)
            low, high = _clipped(self._method, self._scheme, self._percentile, *args, module)
        low, high = (np.asarray(end, dtype).reshape(shape) for end in (low, high))
        return low, high

    @property
    def scale(self) -> NDArray[Any]:
        """The scale, to be given to `quantize`: shape (), or (n,) with an axis."""
        return self._parameters()[0]  # type: ignore[no-any-return]

    @property
    def zero_point(self) -> NDArray[Any] | None:
        """The zero point of the shape of `scale`; None for symmetric int8 and int4."""
        return self._parameters()[1]  # type: ignore[no-any-return]

    def _parameters(self) -> tuple[Any, Any]:
        low, high = self.range
        return self._scheme.scales(low, high, low.dtype, kernels("quantize", low))

    def __repr__(self) -> str:
        options = ", ".join(f"{k}={v!r}" for k, v in self._options().items())
        return f"Calibrator({options})"

    def _options(self) -> dict[str, Any]:
        scheme = self._scheme
        return {
            "dtype": scheme.name,
            "axis": self._axis,
            "symmetric": scheme.symmetric,
            "method": self._method,
            "percentile": self._percentile,
            "compat": scheme.compat,
        }

    def _take(self, x: Any, backend: str | None) -> None:
        if self._scheme.compat is not None and x.dtype != np.float32:
            raise TypeError(f"x must be float32 with compat, got {x.dtype}")
        axis = None if self._axis is None else normalize_axis(self._axis, x.ndim, "x")
        module = kernels("quantize", x, backend)
        low, high, nans = module.min_max(x, axis, None)
        check_finite(low, high)
        if self._low is not None and low.shape != self._low.shape:
            raise ValueError(
                f"x must have {self._low.size} entries along axis {self._axis}, got {low.size}"
            )
        exponents = counts = None
        if self._method != "absmax":
            exponents = _exponents(np.maximum(-low, high))
            if self._exponents is not None:
                exponents = np.maximum(exponents, self._exponents)
            counts = module.histogram(groups(x, axis, None), exponents, BINS)
        self._add(low.astype(np.float64), high.astype(np.float64), exponents, counts)
        self._wide |= x.dtype == np.float64
        self._entries += x.size
        self._nans += nans

    def _add(self, low: Any, high: Any, exponents: Any, counts: Any) -> None:
        if self._low is None:
            self._low, self._high = low, high
            self._exponents, self._counts = exponents, counts
            return
        if low.shape != self._low.shape:
            raise ValueError(f"other must have {self._low.size} scales, got {low.size}")
        self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)
        if counts is not None:
            top = np.maximum(self._exponents, exponents)
            self._counts = _coarser(self._counts, top - self._exponents)
            self._counts = self._counts + _coarser(counts, top - exponents)
            self._exponents = top


@array_function
def _observe(x: ArrayLike, calibrator: Calibrator, backend: str | None) -> None:
    calibrator._take(as_float(as_array(x, "x"), "x"), backend)


def check_method(method: str, percentile: float) -> None:
    """Raise unless the two are legal."""
    check_one_of(method, METHODS, "method")
    if not 0 < as_number(percentile, "percentile") <= 100:
        raise ValueError(f"percentile must be above 0 and at most 100, got {percentile}")


def check_finite(*ends: Any) -> None:
    """ValueError if the data whose ends (or scales) these are had an infinity."""
    if not all(isfinite(end) if end.ndim == 0 else np.isfinite(end).all() for end in ends):
        raise ValueError("x must be finite where its scale is fitted, got an infinity")


def fitted_range(
    x: Any,
    scheme: Scheme,
    axis: int | None,
    block_size: int | None,
    method: str,
    percentile: float,
    module: Any,
) -> tuple[Any, Any]:
    """Least and largest value that the integers should cover, of the shape of the scales."""
    low, high, _ = module.min_max(x, axis, block_size)
    check_finite(low, high)
    if method == "absmax":
        return low, high
    if method == "mse":
        rows = groups(x, axis, block_size)
        shrink = _least_squares(rows, low.reshape(-1), high.reshape(-1), scheme, module)
        return low * shrink.reshape(low.shape), high * shrink.reshape(low.shape)
    if block_size is not None:
        raise ValueError(f"method={method!r} needs more entries than a block, got block_size")
    exponents = _exponents(np.maximum(-low, high))
    counts = module.histogram(groups(x, axis, None), exponents, BINS)
    args = (low.reshape(-1), high.reshape(-1), counts, exponents, module)
    ends = _clipped(method, scheme, percentile, *args)
    return tuple(end.reshape(low.shape).astype(low.dtype) for end in ends)


def groups(x: Any, axis: int | None, block_size: int | None) -> Any:
    """All that share a scale as a row of (scales, n); a last short block is filled with NaN."""
    if x.dtype.name == "bfloat16":  # CuPy copies nothing of it but its bits
        return _groups(x.view(np.uint16), axis, block_size, 0x7FC0).view(x.dtype)
    return _groups(x, axis, block_size, np.nan)


def _groups(x: Any, axis: int | None, block_size: int | None, nan: float) -> Any:
    if axis is None:
        return x.reshape(1, -1)
    if block_size is None:
        return np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1 if x.size else 0)
    block_size = min(block_size, max(1, x.shape[axis]))
    short = -x.shape[axis] % block_size
    if short:
        shape = (*x.shape[:axis], short, *x.shape[axis + 1 :])
        x = np.concatenate([x, np.full_like(x, nan, shape=shape)], axis)
    blocks = x.shape[axis] // block_size
    x = x.reshape(*x.shape[:axis], blocks, block_size, *x.shape[axis + 1 :])
    return np.moveaxis(x, axis + 1, -1).reshape(-1, block_size)


def _least_squares(rows: Any, low: Any, high: Any, scheme: Scheme, module: Any) -> Any:
    """For each row the factor of its range with the least sum of squared errors."""
    best = np.ones(low.shape, low.dtype)
    shrinks = _SHRINKS.astype(low.dtype)
    for start in range(0, low.size, _GROUPS):
        part = slice(start, start + _GROUPS)
        least, most = (np.multiply.outer(end[part], shrinks) for end in (low, high))
        scale, zero_point = scheme.scales(least, most, rows.dtype, module)
        limits = (scheme.low, scheme.high, scheme.order)
        errors = module.squared_errors(rows[part], scale, zero_point, *limits)
        best[part] = shrinks[errors.argmin(axis=1)]
    return best


def _exponents(absmax: Any) -> Any:
    """The least e with absmax < 2**e, as a flat int64 array; not below -1000, that of zeros."""
    absmax = absmax.astype(np.float64).reshape(-1)
    return np.where(absmax == 0, -1000, np.maximum(np.frexp(absmax)[1].astype(np.int64), -1000))


def _coarser(counts: Any, steps: Any) -> Any:
    """Histograms over ranges 2**steps times as wide."""
    result = counts.copy()
    for step in np.unique(steps[steps > 0]):
        hit = steps == step
        width = 2 ** min(int(step), BINS.bit_length() - 1)  # beyond, each sign is one bin
        sums = counts[hit].reshape(hit.sum(), -1, width).sum(axis=2)
        result[hit] = 0
        middle = sums.shape[1] // 2
        result[hit, BINS - middle : BINS + middle] = sums
    return result


def _clipped(
    method: str,
    scheme: Scheme,
    percentile: float,
    low: Any,
    high: Any,
    counts: Any,
    exponents: Any,
    module: Any,
) -> tuple[Any, Any]:
    """The range low..high of each histogram, cut by a method."""
    width = np.ldexp(1.0 / BINS, exponents)
    magnitudes = counts[:, BINS:] + counts[:, BINS - 1 :: -1]
    if method == "mse":
        shrink = _least_squares_of_bins(low, high, counts, width, scheme, module)
        return low * shrink, high * shrink
    if method == "entropy":
        limit = module.entropy_bins(magnitudes, 2 ** (scheme.kind.bits - 1)) * width
        return np.maximum(low, -limit), np.minimum(high, limit)
    if scheme.symmetric:
        limit = _quantile(magnitudes, percentile / 100) * width
        return np.maximum(low, -limit), np.minimum(high, limit)
    tail = (1 - percentile / 100) / 2
    first, last = (_quantile(counts, p) - BINS for p in (tail, 1 - tail))
    cut = np.maximum(low, first * width), np.minimum(high, last * width)
    return np.minimum(cut[0], 0), np.maximum(cut[1], 0)


def _quantile(counts: Any, p: float) -> Any:
    """Where the share p of each row's counts is reached, in bins; linear inside a bin."""
    sums = np.cumsum(counts, axis=1)
    target = p * sums[:, -1:]
    k = np.argmax(sums >= np.maximum(target, 1), axis=1)[:, None]
    count = np.take_along_axis(counts, k, 1)
    before = np.take_along_axis(sums, k, 1) - count
    return (k + np.clip((target - before) / np.maximum(count, 1), 0, 1))[:, 0]


def _least_squares_of_bins(
    low: Any, high: Any, counts: Any, width: Any, scheme: Scheme, module: Any
) -> Any:
    """As `_least_squares`, every entry taken for the middle of its bin."""
    middles = np.multiply.outer(width, np.arange(-BINS, BINS) + 0.5)
    x = np.clip(middles, low[:, None], high[:, None])
    least, best = np.full(low.shape, np.inf), np.ones(low.shape)
    for shrink in _SHRINKS:
        scale, zero = scheme.scales(low * shrink, high * shrink, low.dtype, module)
        scale, zero = scale[:, None], 0 if zero is None else zero[:, None].astype(np.float64)
        q = np.clip(np.rint(x / scale) + zero, scheme.low, scheme.high)
        error = (counts * ((q - zero) * scale - x) ** 2).sum(axis=1)
        best = np.where(error < least, shrink, best)
        least = np.minimum(error, least)
    return best
