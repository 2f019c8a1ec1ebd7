"""Pruning: select a key by radix, then write what is above it, and the first of what is equal."""

import numpy as np

from .._jit import njit
from . import _keys, _selection
from ._keys import key_of, unpack
from ._parallel import parallel, workers
from ._selection import blocks_of, segment, segments_of

_SHORT_ROW = 16  # entries up to which comparing all pairs beats selecting
_ROWS = 256  # compared at once


def count_nan(x):
    """How many entries are NaN."""
    constants, _ = _keys.key_rule(x.dtype, "ascending")
    return int(_selection.count_nan(_keys.as_bits(x).reshape(1, -1), constants)[0])


def prune_mask(x, k, threshold, magnitude, nan, out=None):
    """Which k entries of each row of (rows, n), or which from `threshold` on, are kept."""
    out = np.empty(x.shape, bool) if out is None else out
    order = "magnitude" if magnitude else "ascending"
    _keep(x, k, threshold, order, nan, 0, 1, out.view(np.uint8))
    return out


def prune(x, k, threshold, nan, out=None):
    """The entries that `prune_mask` keeps by magnitude, 0 for the others."""
    out = np.empty(x.shape, x.dtype) if out is None else out
    _keep(x, k, threshold, "magnitude", nan, -1, 0, out.view(f"u{out.dtype.itemsize}"))
    return out


def pack_mask(mask):
    """Eight entries of the last axis to a byte, the lowest bit first."""
    # NumPy's own runs by vectors, at the speed of memory.
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
    constants, shift = _keys.key_rule(tensors[0].dtype, order)
    bits = [_keys.as_bits(x) for x in tensors]
    low, larger = 0, np.zeros(len(tensors), np.int64)
    least = np.array(least)
    while shift:
        digit_bits = min(_selection.DIGIT, shift)
        shift -= digit_bits
        counts = [_selection.histogram(x, constants, low, shift, digit_bits) for x in bits]
        counts = np.array(counts)
        from_digit = larger[:, None] + counts[:, ::-1].cumsum(axis=1)[:, ::-1]
        enough = np.maximum(from_digit, least[:, None]).sum(axis=0) >= k
        digit = int(enough.nonzero()[0][-1])
        larger += counts[:, digit + 1 :].sum(axis=1)
        low += digit << shift
    kept = np.maximum(larger, least)
    room = np.maximum(larger + counts[:, digit], least) - kept
    spare = k - kept.sum() - (room.cumsum() - room)  # the first tensor's equals come first
    return (kept + spare.clip(0, room)).tolist()


def _keep(x, k, threshold, order, nan, copied, set_, out):
    """out = (bits of x & copied) | set_ where kept, else 0."""
    constants, width = _keys.key_rule(x.dtype, order, "high" if nan == "keep" else "low")
    bits = _keys.as_bits(x)
    rows, n = x.shape
    t = None
    if threshold is not None:
        key = _keys.key_from(threshold, x.dtype, order, constants)
        if key is None:
            k = 0
        else:
            t = np.full(rows, key)
            spares = np.full((rows, _selection.chunks_of_row(n)), -1)
    elif k > 0 and n > _SHORT_ROW:
        t, larger, equal = _selection.kth_largest(bits, constants, width, k)
        spares = _spares(bits, constants, t, k - larger, equal)
    if k == 0:
        out[...] = 0
    elif t is None:
        _keep_of_few(workers(), bits, constants, k, (copied, set_), out)
    else:
        t = np.repeat(t, spares.shape[1])
        args = (constants, t, spares.reshape(-1), (copied, set_), out.reshape(-1))
        _keep_from(workers(), bits.reshape(-1), *args)


def _spares(bits, constants, t, spare, equal):
    """How many of the keys equal to t to keep in each chunk: the first, together `spare`; -1: all.

    Only where some are kept and some are not they have to be counted.
    """
    spares = np.where(spare == equal, -1, spare)[:, None]
    chunks = _selection.chunks_of_row(bits.shape[1])
    if chunks == 1 or (spares < 0).all():
        return spares.repeat(chunks, axis=1)
    _, equal = _selection.count_against(bits, constants, t)
    return np.clip(spare[:, None] - (equal.cumsum(axis=1) - equal), 0, equal)


@njit(forceinline=True)
def _written(bits, kept, how, out):
    written = out.dtype.type((bits & type(bits)(how[0])) | type(bits)(how[1]))
    return written if kept else out.dtype.type(0)  # a bare 0 would make a uint64 a float


@njit
def _keep_from_block(b, x, rule, t, spares, how, out):
    for s in segments_of(b, t.size, x.size):
        start, end = segment(s, t.size, x.size)
        part, result, bound, spare = x[start:end], out[start:end], t[s], spares[s]
        if spare > 0:
            for i in range(part.size):
                key = key_of(part[i], rule)
                equal = key == bound
                result[i] = _written(part[i], (key > bound) | (equal & (spare > 0)), how, out)
                spare -= equal
        else:
            all_equal = spare < 0
            for i in range(part.size):
                key = key_of(part[i], rule)
                kept = (key > bound) | ((key == bound) & all_equal)
                result[i] = _written(part[i], kept, how, out)


@njit
def _keep_from(pool, x, constants, t, spares, how, out):
    """Keep in each segment the keys above t and the first `spares` of those equal, -1 for all."""
    args = (x, unpack(constants), t, spares, how, out)
    parallel(pool, _keep_from_block, blocks_of(t.size, x.size), args, x.size // 4)


@njit
def _keep_of_few_block(b, x, rule, k, how, out):
    """Transposed, so that the pairs of many rows are compared at once, by vectors."""
    rows, n = x.shape
    k = x.dtype.type(k)
    mine = segments_of(b, rows, x.size)
    keys = np.empty((n, _ROWS), x.dtype)
    before = np.empty(_ROWS, x.dtype)
    for first in range(mine.start, mine.stop, _ROWS):
        count = min(_ROWS, mine.stop - first)
        part, result = x[first : first + count], out[first : first + count]
        for i in range(n):
            for r in range(count):
                keys[i, r] = key_of(part[r, i], rule)
        for i in range(n):
            before[:] = 0
            own = keys[i]
            for j in range(n):
                other = keys[j]
                for r in range(count):
                    before[r] += (other[r] > own[r]) | ((other[r] == own[r]) & (j < i))
            for r in range(count):
                result[r, i] = _written(part[r, i], before[r] < k, how, out)


@njit
def _keep_of_few(pool, x, constants, k, how, out):
    """Keep k entries of each short row: those with fewer than k before them."""
    args = (x, unpack(constants), k, how, out)
    parallel(pool, _keep_of_few_block, blocks_of(x.shape[0], x.size), args, 2 * x.size)
