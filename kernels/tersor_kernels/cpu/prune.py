"""Pruning: select a key by radix, then write what is above it, and the first of what is equal."""

import numpy as np

from .._jit import njit
from . import _selection
from ._common import BLOCK, rows_per_block
from ._parallel import parallel, workers
from ._selection import (
    DIGIT,
    chunk,
    chunks_of,
    counters,
    histogram_block,
    key_of,
    kth_largest,
    kth_largest_of_row,
    unpack,
)

_LONG_ROW = 8 * BLOCK  # entries from which a row is given to several threads
_SHORT_ROW = 16  # entries up to which comparing all pairs beats counting digits


def count_nan(x):
    """How many entries are NaN."""
    bits = _selection.as_bits(x).reshape(-1)
    constants, _ = _selection.key_rule(x.dtype, "ascending")
    return int(_selection.count_nan(workers(), bits, constants))


def prune_mask(x, k, threshold, magnitude, nan, out=None):
    """Which k entries of each row of (rows, n), or which from `threshold` on, are kept."""
    out = np.empty(x.shape, bool) if out is None else out
    _keep(x, k, threshold, "magnitude" if magnitude else "ascending", nan, 0, 1, out.view(np.uint8))
    return out


def prune(x, k, threshold, nan, out=None):
    """The entries that `prune_mask` keeps by magnitude, 0 for the others."""
    out = np.empty(x.shape, x.dtype) if out is None else out
    bits = out.view(f"u{out.dtype.itemsize}")
    _keep(x, k, threshold, "magnitude", nan, -1, 0, bits)
    return out


def pack_mask(mask):
    """Eight entries of the last axis to a byte, the lowest bit first."""
    return np.packbits(mask, axis=-1, bitorder="little")


def unpack_mask(packed, n):
    """The n entries of the last axis that `pack_mask` packed."""
    return np.unpackbits(packed, axis=-1, count=n, bitorder="little").view(bool)


def global_counts(tensors, k, least, magnitude):
    """How many entries each 1-D tensor keeps: at least `least` of its own, and k in all.

    The counters of each tensor stay apart: they tell how many entries it would keep, from a digit
    on, for every digit, and only the sum is compared with k.
    """
    order = "magnitude" if magnitude else "ascending"
    constants, shift = _selection.key_rule(tensors[0].dtype, order)
    bits = [_selection.as_bits(x) for x in tensors]
    low, larger = constants.dtype.type(0), np.zeros(len(tensors), np.int64)
    least = np.array(least)
    while shift:
        digit_bits = min(DIGIT, shift)
        shift -= digit_bits
        counts = np.array([_digits(workers(), x, constants, low, shift, digit_bits) for x in bits])
        from_digit = larger[:, None] + counts[:, ::-1].cumsum(axis=1)[:, ::-1]
        enough = np.maximum(from_digit, least[:, None]).sum(axis=0) >= k
        digit = int(enough.nonzero()[0][-1])
        larger += counts[:, digit + 1 :].sum(axis=1)
        low = constants.dtype.type(int(low) + (digit << shift))
    kept = np.maximum(larger, least)
    room = np.maximum(larger + counts[:, digit], least) - kept
    spare = k - kept.sum() - (room.cumsum() - room)  # the first tensor's equals come first
    return (kept + spare.clip(0, room)).tolist()


def _keep(x, k, threshold, order, nan, copied, set_, out):
    """out = (bits of x & copied) | set_ where kept, else 0."""
    constants, width = _selection.key_rule(x.dtype, order, "high" if nan == "keep" else "low")
    bits = _selection.as_bits(x)
    how = (copied, set_)
    if threshold is not None:
        key = _selection.key_from(threshold, x.dtype, order, constants)
        if key is None:
            out[...] = 0
        else:
            _keep_from(workers(), bits.reshape(-1), constants, key, how, out.reshape(-1))
    elif k == 0:
        out[...] = 0
    elif x.shape[1] < _LONG_ROW:
        _keep_rows(workers(), bits, constants, k, how, out)
    else:
        for row, result in zip(bits, out, strict=True):
            _keep_largest(workers(), row, constants, width, k, how, result)


@njit(forceinline=True)
def _written(bits, kept, how, out):
    written = out.dtype.type((bits & type(bits)(how[0])) | type(bits)(how[1]))
    return written if kept else out.dtype.type(0)  # a bare 0 would make a uint64 a float


@njit
def _keep_first(x, rule, t, spare, how, out):
    """Keep the keys above t, and the first `spare` of those equal to it."""
    for i in range(x.size):
        key = key_of(x[i], rule)
        equal = key == t
        kept = (key > t) | (equal & (spare > 0))
        spare -= equal
        out[i] = _written(x[i], kept, how, out)


@njit
def _keep_block(b, x, rule, t, spares, how, out):
    """Keep in chunk b the keys above t, and the first spares[b] of those equal to it, -1 for all.

    Only a chunk in which some are kept and some are not has to count them.
    """
    start, end = chunk(b, spares.size, x.size)
    part, result = x[start:end], out[start:end]
    if spares[b] > 0:
        _keep_first(part, rule, t, spares[b], how, result)
        return
    all_equal = spares[b] < 0
    for i in range(part.size):
        key = key_of(part[i], rule)
        kept = (key > t) | ((key == t) & all_equal)
        result[i] = _written(part[i], kept, how, out)


@njit
def _count_equal_block(b, x, rule, t, counts):
    start, end = chunk(b, counts.size, x.size)
    part = x[start:end]
    count = np.int32(0)
    for i in range(part.size):
        count += np.int32(key_of(part[i], rule) == t)
    counts[b] = count


@njit
def _keep_rows_block(b, x, rule, k, how, out):
    n = x.shape[1]
    step = rows_per_block(n)
    keys, counts = np.empty(n, x.dtype), counters(n)
    for r in range(b * step, min(x.shape[0], (b + 1) * step)):
        row, result = x[r], out[r]
        for i in range(n):
            keys[i] = key_of(row[i], rule)
        if n <= _SHORT_ROW:
            for i in range(n):
                before = 0
                for j in range(n):
                    before += (keys[j] > keys[i]) | ((keys[j] == keys[i]) & (j < i))
                result[i] = _written(row[i], before < k, how, out)
        else:
            t, larger, _ = kth_largest_of_row(keys, k, counts)
            _keep_first(row, rule, t, k - larger, how, result)


@njit
def _keep_from(pool, x, constants, t, how, out):
    spares = np.full(chunks_of(x.size), -1)
    parallel(pool, _keep_block, spares.size, (x, unpack(constants), t, spares, how, out), x.size)


@njit
def _digits(pool, x, constants, low, shift, digit_bits):
    """How often each digit of the keys occurs; the digits above it are those of `low`."""
    counts = np.zeros((chunks_of(x.size), 2**digit_bits + 1), np.int64)
    args = (x, unpack(constants), low, x.dtype.type(shift), counts)
    parallel(pool, histogram_block, counts.shape[0], args, x.size)
    return counts[:, :-1].sum(axis=0)


@njit
def _keep_largest(pool, x, constants, width, k, how, out):
    rule = unpack(constants)
    t, larger, equal = kth_largest(pool, x, rule, width, k)
    spares = np.full(chunks_of(x.size), -1)
    if larger + equal > k:
        parallel(pool, _count_equal_block, spares.size, (x, rule, t, spares), x.size)
        spare = k - larger
        for b in range(spares.size):
            equal = spares[b]
            spares[b] = -1 if equal <= spare else spare
            spare = max(0, spare - equal)
    parallel(pool, _keep_block, spares.size, (x, rule, t, spares, how, out), x.size)


@njit
def _keep_rows(pool, x, constants, k, how, out):
    blocks = -(-x.shape[0] // rows_per_block(x.shape[1]))
    args = (x, unpack(constants), k, how, out)
    parallel(pool, _keep_rows_block, blocks, args, 4 * x.size)
