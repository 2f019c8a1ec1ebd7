"""The median and quantiles of all floats of an array, the shortest way there is; None else."""

from __future__ import annotations

from functools import lru_cache
from math import floor
from typing import Any

import numpy as np

from ._backends import kernels

# The dtypes, and the magnitude up to which two entries have a sum.
_ROOM = {np.dtype(np.float32): 1.7e38, np.dtype(np.float64): 8.9e307}
_BY_NUMPY = 4096  # entries below which NumPy's partition is as fast as a call of a kernel


def flat_median(a: Any, axis: Any, skip_nan: bool) -> Any:
    """The median of all entries; with NaN it is NaN, or not for here."""
    if not _is_flat(a, axis):
        return None
    n, room = a.size, _ROOM[a.dtype]
    low, high, has_nan = _entries(a, (n - 1) >> 1, n >> 1)
    if has_nan and skip_nan:
        return None
    if n & 1:
        result = high
    elif -room < low and high < room:
        result = (low + high) / 2
    else:
        result = np.median(np.array([low, high]))  # with its warnings
    return a.dtype.type(np.nan) if has_nan else result


def flat_quantile(a: Any, axis: Any, q: Any, method: Any, is_percent: bool, skip_nan: bool) -> Any:
    """The quantile of all entries by a simple method; with NaN it is NaN, or not for here."""
    if not (_is_flat(a, axis) and type(q) in (int, float)):
        return None
    q = q / 100 if is_percent else q
    if not 0 <= q <= 1:
        return None
    last = a.size - 1
    at = last * q
    below = floor(at)
    share = at - below
    above = min(below + 1, last)
    if method == "lower":
        above = below
    elif method == "higher":
        below = above = below if share == 0 else above
    elif method != "linear":
        return None
    low, high, has_nan = _entries(a, below, above)
    if has_nan and skip_nan:
        return None
    room = _ROOM[a.dtype]
    if method != "linear":
        result = low
    elif not (-room < low and high < room):
        result = np.quantile(np.array([low, high]), share)  # with its warnings
    else:
        difference = high - low
        result = low + difference * share if share < 0.5 else high - difference * (1 - share)
    return a.dtype.type(np.nan) if has_nan else result


def _is_flat(a: Any, axis: Any) -> bool:
    if type(a) is not np.ndarray or a.dtype not in _ROOM or not a.size:
        return False
    return axis is None or (a.ndim == 1 and type(axis) is int and axis in (0, -1))


def _entries(a: Any, low: int, high: int) -> tuple[Any, Any, bool]:
    """The entries at two ranks, 0 the smallest, and whether there are NaN."""
    n = a.size
    if n < _BY_NUMPY:
        part = a.flatten()
        part.partition(_places(low, high, n - 1))  # NaN come last
        last = part[-1]
        return part[low], part[high], last != last
    flat = a.reshape(-1) if a.flags.c_contiguous or a.ndim == 1 else a.ravel("K")
    picked, nans = kernels("select", flat).order_statistics(flat, _ranks(low, high))
    return picked[0, 0], picked[0, -1], nans[0] != 0


@lru_cache(maxsize=4096)
def _places(*places: int) -> Any:
    return np.unique(places)


@lru_cache(maxsize=4096)
def _ranks(low: int, high: int) -> Any:
    return np.array([[low, high] if low < high else [low]])
