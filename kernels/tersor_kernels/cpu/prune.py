"""Pruning: find the key of the last entry to keep, write what is above it and the first equal."""

import numpy as np

from ._keys import key_from
from ._parallel import workers
from ._prune_global import global_counts as global_counts
from ._select_gather import contiguous, is_contiguous, parts
from ._select_plan import plan, way_of
from ._select_rows import STRICTLY, emit_from, select_long, select_short
from ._select_rows import count_nan as _count_nan


def flat(x):
    """The entries of `x` in order, as one row: a view or a copy."""
    return contiguous(x).reshape(1, -1)


def count_nan(x):
    """How many entries are NaN."""
    x = contiguous(x)
    job = plan(x.dtype, "magnitude", "low", "mask", "count")
    return int(_count_nan(workers(), job, id(x), x.size)) if x.size else 0


def prune_mask(x, k, threshold, magnitude, nan, out=None):
    """Which k entries of each row of (..., n), or which from `threshold` on, are kept.

    And how many are NaN; if there are and `nan` is "raise", `out` is not touched.
    """
    order = "magnitude" if magnitude else "ascending"
    return _keep(x, k, threshold, order, nan, "mask", out, np.bool_)


def prune(x, k, threshold, nan, out=None):
    """The entries that `prune_mask` keeps by magnitude, 0 for the others; and how many are NaN."""
    return _keep(x, k, threshold, "magnitude", nan, "kept", out, x.dtype)


def pack_mask(mask):
    """Eight entries of the last axis to a byte, the lowest bit first."""
    # NumPy's own runs by vectors, at the speed of memory.
    return np.packbits(mask, axis=-1, bitorder="little")


def unpack_mask(packed, n):
    """The n entries of the last axis that `pack_mask` packed."""
    return np.unpackbits(packed, axis=-1, count=n, bitorder="little").view(bool)


def _keep(x, k, threshold, order, nan, what, out, dtype):
    nan_too = 1 if nan == "raise" and x.dtype.kind not in "iub" else 0
    is_strict = bool(nan_too) and out is not None
    out = np.empty(x.shape, dtype) if out is None else out
    if x.size == 0:
        return out, 0
    n = x.shape[-1]
    rows, nan = x.size // n, "high" if nan == "keep" else "low"
    way = way_of(rows, n)
    if k == 0 or (is_strict and (rows > 1 or way != "long")):
        nans = count_nan(x)
        if k == 0 and not (is_strict and nans):
            out[...] = 0
        if k == 0 or nans:
            return out, nans
    if threshold is not None:
        return out, _keep_from(x, threshold, order, nan, what, out, nan_too)
    job = plan(x.dtype, order, nan, what, way)
    select = select_long if way == "long" else select_short
    nan_too = STRICTLY if is_strict else nan_too
    if is_contiguous(x):
        args = id(x), rows, n, k, n, id(out), id(out), nan_too
        return out, select(workers(), job, *args)
    nans = 0
    for part, at in parts(x):
        to = out[at]
        args = part.size // n, n, k, n, id(to), id(to), nan_too
        nans += select(workers(), job, id(part), *args)
    return out, nans


def _keep_from(x, threshold, order, nan, what, out, nan_too):
    key = key_from(threshold, x.dtype, order)
    if key is None:
        out[...] = 0
        return 0
    x, job = contiguous(x), plan(x.dtype, order, nan, what, "chunks")
    return emit_from(workers(), job, id(x), x.size, key, id(out), nan_too)
