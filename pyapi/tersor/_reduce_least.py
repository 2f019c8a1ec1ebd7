"""From how many elements on a kernel is faster than NumPy: measured, for each kind of reduction.

A kernel call takes 1 to 4 us more than NumPy's; what it gains depends on the operation, on the
dtype and on whether a whole contiguous array, its rows or anything else is reduced.
"""

from math import inf
from typing import Any

ALWAYS_NUMPY = 2048  # the least of them all, but for logsumexp, which SciPy takes 100 us for
# (whole array, rows, anything else) of floats below float64, of float64 and of integers. NumPy
# adds up small floats in float64 too (`precisely`), which takes it several times as long.
_ADDED = ((8192, 16384, 32768), (32768, 2**17, 2**20), (8192, 16384, 16384))
_SEVERAL_PASSES = ((2048, 4096, 4096), (2048, 4096, 8192), (2048, 4096, 8192))
_SQUARED = ((4096, 8192, 4096), (8192, 8192, 8192), (4096, 8192, 4096))
_EXTREMA = ((2**22, 16384, 65536), (2**21, 16384, 65536), (2**22, 2**17, 65536))
_PLACES = ((2**23, 2**22, 8192), (2**22, 2**21, 8192), (2**22, 2**21, 8192))
_NAN_PLACES = ((2**17, 65536, 32768),) * 3
_TRUTH = ((2**17, 65536, 65536),) * 3
_COUNTED = ((16384, 4096, 8192), (16384, 4096, 8192), (32768, 4096, 8192))
_RUNNING = ((16384, 8192, 4096), (16384, 8192, 4096), (2**20, 2**20, 16384))
_NORMED = ((16384, 4096, 8192), (16384, 4096, 8192), (16384, 4096, 8192))
_LEAST = {
    "sum": _ADDED, "prod": _ADDED, "mean": _ADDED,
    "nansum": _SEVERAL_PASSES, "nanprod": _SEVERAL_PASSES, "nanmean": _SEVERAL_PASSES,
    "var": _SQUARED, "nanvar": _SQUARED, "norm": _NORMED, "scan": _RUNNING,
    "max": _EXTREMA, "min": _EXTREMA, "ptp": _EXTREMA, "nanmax": _EXTREMA, "nanmin": _EXTREMA,
    "argmax": _PLACES, "argmin": _PLACES, "nanargmax": _NAN_PLACES, "nanargmin": _NAN_PLACES,
    "any": _TRUTH, "all": _TRUTH, "count_nonzero": _COUNTED,
    "logsumexp": ((1, 1, 1),) * 3,
}  # fmt: skip
_FIRST = ("argmax", "argmin")
# NumPy reads bytes as fast as memory gives them; 100 of them take it as long as 25 float32.
_OF_BYTES = {
    **dict.fromkeys(("max", "min", "nanmax", "nanmin", "argmax", "argmin"), 4),
    "count_nonzero": 32, "any": 64, "all": 64,
}  # fmt: skip
_HALVES = 4096
_SHORT = 128  # elements: NumPy's start of a row takes it as long as 100 of them


def least(op: str, dtype: Any, contiguous: bool, axes: tuple[int, ...], shape: Any) -> float:
    """Elements from which on a kernel does `op` over `axes` of an array of `shape`."""
    kind = 2 if dtype.kind in "biu" else 1 if dtype.itemsize == 8 else 0
    if kind == 0 and dtype.itemsize == 2:  # NumPy takes 1.5 to 10 ns for each
        return _HALVES
    last = len(shape) - 1
    whole, rows = len(axes) == len(shape), axes == (last,)
    if op in _FIRST:
        if dtype.kind == "b" and (rows or (whole and contiguous)):
            return inf  # NumPy stops at the first that settles it
        if rows and shape[last] <= _SHORT:
            return 16384
    elements = _LEAST[op][kind][0 if contiguous and whole else 1 if rows else 2]
    return elements * (_OF_BYTES.get(op, 1) if dtype.itemsize == 1 and whole else 1)
