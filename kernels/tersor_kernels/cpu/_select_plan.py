"""Which code selects: compiled once for each operation and size of entries, when first needed."""

from functools import cache

import numpy as np

from . import _select_emit, _select_few, _select_find, _select_ranks, _select_rows, _select_sort
from ._keys import key_rule
from ._native import address
from ._select_jobs import IN_PARTS, IN_PLACE, TOGETHER

_CORES = {
    "bound": (_select_find.bound, 1),
    "narrow": (_select_find.narrow, 3),
    "count": (_select_find.count, 3),
    "finish": (_select_find.finish, 1),
    "rows": (_select_rows.rows, 3),
    "ranks": (_select_ranks.ranks, 3),
    "take": (_select_emit.take, 10),
    "entries": (lambda dtype: _select_emit.split(dtype, "entries"), 10),
    "places": (lambda dtype: _select_emit.split(dtype, "places"), 10),
    "mask": (lambda dtype: _select_emit.keep(dtype, "mask"), 10),
    "kept": (lambda dtype: _select_emit.keep(dtype, "entries"), 10),
    "sort": (_select_sort.sort, 5),
}
_KINDS = {"take": TOGETHER, "mask": IN_PLACE, "kept": IN_PLACE}
_FEW, _MANY = 16, 256  # entries of a row at most, and rows at least, for several rows at once


def way_of(rows, n):
    """How rows of n entries are selected from: "long", "short", or in groups of so many lanes."""
    if n >= _select_find.LONG:
        return "long"
    if n > _FEW or rows < _MANY:
        return "short"
    return max(4, 1 << (n - 1).bit_length())


@cache
def plan(dtype, order, nan, operation, way):
    """The plan of "ranks", "take", "take sorted", "entries", "places", "mask" or "kept".

    way : what `way_of` found; "chunks" to write without selecting, "count" to count
    """
    size, (name, _, is_sorted) = dtype.itemsize, operation.partition(" ")
    emit = None if name == "ranks" else name
    sort = "sort" if is_sorted else None
    names, chunk = [None] * 7, 0
    if way == "short":
        names[4:] = "ranks" if emit is None else "rows", emit, sort
    elif way == "long":
        names, chunk = ["bound", "narrow", "count", "finish", None, emit, sort], _chunk_code()
    elif way == "chunks":
        names[5], chunk = emit, _chunk_code()
    elif way == "count":
        names[2] = "count"
    codes = [_core(name, size)[0] if name else 0 for name in names]
    if way in (4, 8, 16):
        codes[4] = _few_code(operation, size, way)[0]
    rule = key_rule(dtype, order, nan)[0].ctypes.data
    return np.array([rule, size, *codes, chunk, _KINDS.get(name, IN_PARTS)], np.int64)


@cache
def _core(name, size):
    """Address of a function for entries of so many bytes, and what keeps it alive."""
    make, count = _CORES[name]
    function = make(np.dtype(f"u{size}"))
    return address(function, count), function


@cache
def _few_code(name, size, group):
    """The same of one for rows of a few entries."""
    makers = {"mask": "keep", "kept": "keep", "entries": "split", "places": "split"}
    make = getattr(_select_few, makers.get(name, name.partition(" ")[0]))
    function = make(np.dtype(f"u{size}"), name, group)
    return address(function, 3), function


@cache
def _chunk_code():
    return address(_select_rows.write_chunk, 3)
