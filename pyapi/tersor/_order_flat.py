"""The median and quantiles of all entries of an array, the shortest way there is; None else."""

from __future__ import annotations

from functools import lru_cache
from math import floor
from typing import Any

import numpy as np

from ._backends import kernels
from ._select_least import least

# The floats, and the magnitude up to which two of them have a sum.
_ROOM = {np.dtype(np.float32): 1.7e38, np.dtype(np.float64): 8.9e307}
_HALF = np.dtype(np.float16)  # summed as float32, as NumPy does
_FEW = 256  # entries up to which NumPy is as fast with three places as with one and two maxima
_INTEGERS = {np.dtype(c) for c in np.typecodes["AllInteger"]}


def flat_median(a: Any, axis: Any, skip_nan: bool) -> Any:
    """The median of all entries; with NaN it is NaN, or not for here."""
    if not _is_flat(a, axis):
        return None
    dtype = a.dtype
    room = _ROOM.get(dtype)
    is_integer = room is None and dtype in _INTEGERS
    if room is None and not is_integer and dtype != _HALF:
        return None
    n = a.size
    low, high, has_nan = _entries(a, (n - 1) >> 1, n >> 1)
    if has_nan and skip_nan:
        return None
    if is_integer:
        return np.float64((float(low) + float(high)) / 2)
    if n & 1:
        result = high
    elif room is None and np.isfinite(low) and np.isfinite(high):
        result = dtype.type((np.float32(low) + np.float32(high)) / 2)
    elif room is not None and -room < low and high < room:
        result = (low + high) / 2
    else:
        result = np.median(np.array([low, high]))  # with its warnings
    return dtype.type(np.nan) if has_nan else result


def flat_quantile(a: Any, axis: Any, q: Any, method: Any, is_percent: bool, skip_nan: bool) -> Any:
    """The quantile of all entries by a simple method; with NaN it is NaN, or not for here."""
    if not (_is_flat(a, axis) and a.dtype in _ROOM and type(q) in (int, float)):
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
    if type(a) is not np.ndarray or not a.size:
        return False
    return axis is None or (a.ndim == 1 and type(axis) is int and axis in (0, -1))


def _entries(a: Any, low: int, high: int) -> tuple[Any, Any, bool]:
    """The entries at two ranks that are the same or neighbours, and whether there are NaN."""
    n = a.size
    if n < least("flat", a.dtype):
        part = a.flatten()
        if n < _FEW or a.itemsize < 4:
            part.partition(_places(low, high, n - 1))  # NaN come last
            last = part[-1]
            return part[low], part[high], last != last
        part.partition(high)  # one place: by vectors, with no branch that data decide
        last = np.maximum.reduce(part[high:])
        return (
            part[high] if low == high else np.maximum.reduce(part[:high]),
            part[high],
            last != last,
        )
    flat = a.reshape(-1) if a.flags.c_contiguous or a.ndim == 1 else a.ravel("K")
    picked, nans = kernels("select", flat).order_statistics(flat, _ranks(low, high))
    return picked[0, 0], picked[0, -1], nans[0] != 0


@lru_cache(maxsize=4096)
def _places(*places: int) -> Any:
    return np.unique(places)


@lru_cache(maxsize=4096)
def _ranks(low: int, high: int) -> Any:
    return np.array([[low, high] if low < high else [low]])
