"""From how many elements on a kernel is faster than NumPy: measured, for each kind of reduction.

A kernel call takes 1 to 4 us more than NumPy's; what it gains depends on the operation, on the
dtype and on whether a whole contiguous array, its rows or anything else is reduced.
"""

from typing import Any

ALWAYS_NUMPY = 2048  # the least of them all, but for logsumexp, which SciPy takes 100 us for
# (whole array, rows, anything else) of floats below float64, of float64 and of integers. NumPy
# adds up small floats in float64 too (`precisely`), which takes it several times as long.
_ADDED = ((2048, 2048, 4096), (65536, 65536, 2**20), (16384, 16384, 32768))
_SEVERAL_PASSES = ((4096, 8192, 32768),) * 3
_SQUARED = ((16384, 16384, 65536),) * 3
_EXTREMA = ((2**22, 32768, 2**17), (2**21, 32768, 2**17), (2**22, 32768, 2**17))
_PLACES = ((2**23, 2**23, 16384), (2**22, 2**22, 16384), (2**23, 2**23, 16384))
_NAN_PLACES = ((2**17, 2**17, 65536),) * 3
_TRUTH = ((2**19, 65536, 2**17),) * 3
_COUNTED = ((65536, 2048, 16384),) * 3
_RUNNING = ((16384, 8192, 4096), (16384, 8192, 4096), (2**20, 2**20, 16384))
_NORMED = ((2048, 2048, 16384), (16384, 4096, 32768), (16384, 4096, 32768))
_LEAST = {
    "sum": _ADDED, "prod": _ADDED, "mean": _ADDED,
    "nansum": _SEVERAL_PASSES, "nanprod": _SEVERAL_PASSES, "nanmean": _SEVERAL_PASSES,
    "var": _SQUARED, "nanvar": _SQUARED, "norm": _NORMED, "scan": _RUNNING,
    "max": _EXTREMA, "min": _EXTREMA, "ptp": _EXTREMA, "nanmax": _EXTREMA, "nanmin": _EXTREMA,
    "argmax": _PLACES, "argmin": _PLACES, "nanargmax": _NAN_PLACES, "nanargmin": _NAN_PLACES,
    "any": _TRUTH, "all": _TRUTH, "count_nonzero": _COUNTED,
    "logsumexp": ((1, 1, 1),) * 3,
}  # fmt: skip
_BY_BYTES = ("max", "min", "nanmax", "nanmin", "argmax", "argmin", "count_nonzero")


def least(op: str, dtype: Any, contiguous: bool, axes: tuple[int, ...], ndim: int) -> int:
    """Elements from which on a kernel does `op` over `axes` of an array of `ndim` dimensions."""
    kind = 2 if dtype.kind in "biu" else 1 if dtype.itemsize == 8 else 0
    whole = len(axes) == ndim
    elements = _LEAST[op][kind][0 if contiguous and whole else 1 if axes == (ndim - 1,) else 2]
    # NumPy's bytes: 100 of them take as long as 25 float32.
    return elements * 4 if dtype.itemsize == 1 and whole and op in _BY_BYTES else elements
