"""Pruning: find the key of the last entry to keep, write what is above it and the first equal."""

import numpy as np

from . import _keys
from ._parallel import workers
from ._prune_global import global_counts as global_counts
from ._select_find import LONG
from ._select_rows import count_nan as _count_nan
from ._select_rows import emit_from, plan, select


def count_nan(x):
    """How many entries are NaN."""
    job = plan(x.dtype, "magnitude", "low", "mask")
    return int(_count_nan(workers(), job, _keys.as_bits(x).reshape(-1), x.size)) if x.size else 0


def prune_mask(x, k, threshold, magnitude, nan, out=None):
    """Which k entries of each row of (rows, n), or which from `threshold` on, are kept.

    And how many are NaN; if there are and `nan` is "raise", `out` is not touched.
    """
    order = "magnitude" if magnitude else "ascending"
    mask, nans = _keep(x, k, threshold, order, nan, "mask", out, np.uint8)
    return mask.view(bool), nans


def prune(x, k, threshold, nan, out=None):
    """The entries that `prune_mask` keeps by magnitude, 0 for the others; and how many are NaN."""
    bits = _keys.UNSIGNED[x.dtype.itemsize]
    kept, nans = _keep(x, k, threshold, "magnitude", nan, "kept", out, bits)
    return kept.view(x.dtype), nans


def pack_mask(mask):
    """Eight entries of the last axis to a byte, the lowest bit first."""
    # NumPy's own runs by vectors, at the speed of memory.
    return np.packbits(mask, axis=-1, bitorder="little")


def unpack_mask(packed, n):
    """The n entries of the last axis that `pack_mask` packed."""
    return np.unpackbits(packed, axis=-1, count=n, bitorder="little").view(bool)


def _keep(x, k, threshold, order, nan, what, out, dtype):
    rows, n = x.shape
    is_strict = out is not None and nan == "raise" and x.dtype.kind not in "iub"
    out = np.empty(x.shape, dtype) if out is None else out.view(dtype)
    if x.size == 0:
        return out, 0
    bits = _keys.as_bits(x)
    job = plan(x.dtype, order, "high" if nan == "keep" else "low", what)
    if k == 0 or (is_strict and (rows > 1 or n < LONG)):
        nans = count_nan(x)
        if k == 0 and not (is_strict and nans):
            out[...] = 0
        if k == 0 or nans:
            return out, nans
    if threshold is not None:
        constants, _ = _keys.key_rule(x.dtype, order, "high" if nan == "keep" else "low")
        key = _keys.key_from(threshold, x.dtype, order, constants)
        if key is None:
            out[...] = 0
            return out, 0
        return out, emit_from(workers(), job, bits, x.size, key, out)
    return out, select(workers(), job, bits, rows, n, k, n, out, out, is_strict)
