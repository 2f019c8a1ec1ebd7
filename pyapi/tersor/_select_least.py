"""From how many entries on a kernel selects faster than NumPy: measured, 2 cores with AVX-512.

Measured on arrays that were new: of one that comes again and again the CPU learns every branch that
NumPy's code takes, up to 16,000 entries, and it seems ten times as fast as it is in use. Where
NumPy goes by vectors (numbers of 4 and 8 bytes, one place) it is as fast as it seems.
"""

from functools import cache
from typing import Any

ALWAYS_NUMPY = 1024  # the least of them all
# Of 4 and 8 bytes, of fewer: the median of all entries, what goes by rows.
_LEAST = {
    "flat": (4096, 1024),
    "median": (4096, 4096),
    "quantile": (8192, 8192),
    "partition": (8192, 4096),
    "argpartition": (2048, 2048),
}
# Rows that NumPy partitions faster, however many there are; medians are that, where they are one
# entry and no NaN is to be looked for.
_ROWS = {"f4": range(17, 512), "f8": range(17, 1024)}
_INTEGERS, _MIDDLES, _NONE = range(12, 2**17), range(17, 512, 2), range(0)


@cache
def least(op: str, dtype: Any) -> int:
    """Entries from which on a kernel does `op`; "flat" is the median of all entries."""
    return _LEAST[op][dtype.itemsize < 4]


@cache
def rows_of_numpy(op: str, dtype: Any) -> range:
    """Lengths of rows of which NumPy does the "partition" or "median" faster, at any number."""
    is_integer = dtype.kind in "iu" and dtype.itemsize > 1
    if op == "median":
        return _MIDDLES if is_integer else _NONE
    return _INTEGERS if is_integer else _ROWS.get(dtype.str[1:], _NONE)
