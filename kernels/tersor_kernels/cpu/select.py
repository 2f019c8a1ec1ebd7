"""Top-k, partitions and order statistics by radix selection, in rows of (rows, n).

What is below is found by "descending" keys, of which the largest belong to the smallest entries:
NaN come last.
"""

from itertools import pairwise

import numpy as np
from numba import types
from numba.extending import overload

from .._jit import njit
from . import _keys, _selection
from ._keys import key_of, unpack
from ._parallel import parallel, workers
from ._selection import blocks_of, segment, segments_of


def count_nan(x):
    """How many entries of each row are NaN."""
    bits, constants, _ = _bits_and_rule(x, "descending")
    return _selection.count_nan(bits, constants)


def top_k(x, k, largest, sorted):
    """The k largest or smallest entries of each row and their indices; in index order unsorted."""
    bits, constants, width = _bits_and_rule(x, "ascending" if largest else "descending")
    rows, n = x.shape
    indices, keys = np.empty((rows, k), np.int64), np.empty((rows, k), bits.dtype)
    if indices.size:
        t, larger, _ = _selection.kth_largest(bits, constants, width, k)
        t, spares, starts = _taken(bits, constants, t, k - larger, k)
        out = (keys.reshape(-1), indices.reshape(-1))
        _take(workers(), bits.reshape(-1), n, constants, t, spares, starts, *out)
    if sorted:
        indices = _sorted(keys, indices)
    return np.take_along_axis(x, indices, axis=1), indices


def _taken(bits, constants, t, spare, k):
    """For each chunk: the key, how many equal to it are taken, and where its entries go."""
    rows, n = bits.shape
    starts = np.arange(rows) * k
    if _selection.chunks_of_row(n) == 1:
        return t, spare, starts
    larger, equal = _selection.count_against(bits, constants, t)
    spares = np.clip(spare[:, None] - (equal.cumsum(axis=1) - equal), 0, equal)
    taken = larger + spares
    starts = starts[:, None] + taken.cumsum(axis=1) - taken
    return np.repeat(t, spares.shape[1]), spares.reshape(-1), starts.reshape(-1)


def partition(x, kth):
    """Each row with the entries that sorting would put at the ascending places `kth` there."""
    bits, constants, width = _bits_and_rule(x, "descending")
    if bits.dtype.itemsize != x.dtype.itemsize:
        return np.take_along_axis(x, argpartition(x, kth), axis=1)
    out = np.empty(bits.shape, bits.dtype)
    _partition(bits, constants, width, kth[0], out)
    for i, j in pairwise(kth):
        tail = out[:, i + 1 :]
        part = np.empty(tail.shape, tail.dtype)
        _partition(_keys.as_bits(tail), constants, width, j - i - 1, part)
        tail[...] = part
    return out.view(x.dtype)


def argpartition(x, kth):
    """The indices of `partition`; equal entries keep their order."""
    bits, constants, width = _bits_and_rule(x, "descending")
    out = np.empty(bits.shape, np.int64)
    _partition(bits, constants, width, kth[0], out)
    for i, j in pairwise(kth):
        tail = out[:, i + 1 :]
        part = np.empty(tail.shape, np.int64)
        rest = _keys.as_bits(np.take_along_axis(bits, tail, axis=1))
        _partition(rest, constants, width, j - i - 1, part)
        tail[...] = np.take_along_axis(tail, part, axis=1)
    return out


def order_statistics(x, ranks):
    """The entry of each row at each rank, 0 the smallest; ranks (rows or 1, any number)."""
    bits, constants, width = _bits_and_rule(x, "descending")
    ranks = np.broadcast_to(ranks, (x.shape[0], ranks.shape[1]))
    keys = np.empty(ranks.shape, bits.dtype)
    # t is the key of the ranks from start to end - 1, and if counted, of no others.
    t, counted = None, False
    start = end = np.full(x.shape[0], -1)
    for j, rank in enumerate(ranks.T):
        same = (start <= rank) & (rank < end)
        if counted and (same | (rank == end)).all():
            if not same.all():  # the next smaller key: a pass, no selection
                t = np.where(same, t, _largest_below(bits, constants, t))
                start, end = np.where(same, start, rank), np.where(same, end, rank + 1)
                counted = False
        elif not same.all():
            t, start, equal = _selection.kth_largest(bits, constants, width, rank + 1)
            end, counted = start + equal, True
        keys[:, j] = t
    return _keys.values_of(keys, x.dtype, constants)


def _bits_and_rule(x, order):
    return _keys.as_bits(x), *_keys.key_rule(x.dtype, order)


def _sorted(keys, indices):
    """The indices by descending key, then ascending index."""
    if keys.dtype.itemsize == 8:
        return np.take_along_axis(indices, np.argsort(~keys, axis=1, kind="stable"), axis=1)
    # Both fit one integer, and NumPy sorts those by vectors.
    codes = (~keys).astype(np.uint64) << np.uint64(32) | indices.astype(np.uint64)
    codes.sort(axis=1)
    return (codes & np.uint64(2**32 - 1)).astype(np.int64)


@njit
def _take_block(b, x, n, rule, t, spares, starts, keys, indices):
    for s in segments_of(b, t.size, x.size):
        start, end = segment(s, t.size, x.size)
        part, bound, spare, j, first = x[start:end], t[s], spares[s], starts[s], start % n
        for i in range(part.size):
            key = key_of(part[i], rule)
            if key > bound or (key == bound and spare > 0):
                spare -= key == bound
                keys[j], indices[j] = key, first + i
                j += 1


@njit
def _take(pool, x, n, constants, t, spares, starts, keys, indices):
    """Write the keys above t of each segment, and the first `spares` of those equal, with indices.

    n : of a row, in which the indices count
    """
    args = (x, n, unpack(constants), t, spares, starts, keys, indices)
    parallel(pool, _take_block, blocks_of(t.size, x.size), args, x.size)


def _partition(bits, constants, width, kth, out):
    """Write the entries, or indices, before those at `kth`, these, and those behind them."""
    rows, n = bits.shape
    t, before, equal = _selection.kth_largest(bits, constants, width, kth + 1)
    starts = np.stack([np.zeros(rows, np.int64), before, before + equal], axis=1)
    starts += n * np.arange(rows)[:, None]
    if _selection.chunks_of_row(n) > 1:
        before, equal = _selection.count_against(bits, constants, t)
        sizes = np.diff(np.arange(before.shape[1] + 1) * n // before.shape[1])
        counts = np.stack([before, equal, sizes - before - equal], axis=2)
        starts = starts[:, None] + counts.cumsum(axis=1) - counts
        t = np.repeat(t, before.shape[1])
    _scatter(workers(), bits.reshape(-1), n, constants, t, starts.reshape(-1, 3), out.reshape(-1))


def _entry(out, i, bits):
    """What a partition writes: the index if `out` holds indices, else the bits."""
    raise TypeError("only for compiled code")


@overload(_entry, jit_options={"forceinline": True, "fastmath": False})
def _overload_entry(out, i, bits):
    if out.dtype == types.int64:
        return lambda out, i, bits: i
    return lambda out, i, bits: bits


@njit
def _scatter_block(b, x, n, rule, t, starts, out):
    for s in segments_of(b, t.size, x.size):
        start, end = segment(s, t.size, x.size)
        part, bound, first = x[start:end], t[s], start % n
        before, at, behind = starts[s]
        for i in range(part.size):
            key = key_of(part[i], rule)
            to = before if key > bound else (at if key == bound else behind)
            out[to] = _entry(out, first + i, part[i])
            before += key > bound
            at += key == bound
            behind += key < bound


@njit
def _scatter(pool, x, n, constants, t, starts, out):
    """Write keys above t from one place on, those equal from another, those below from a third."""
    args = (x, n, unpack(constants), t, starts, out)
    parallel(pool, _scatter_block, blocks_of(t.size, x.size), args, 2 * x.size)


def _largest_below(bits, constants, keys):
    """The largest key of each row that is smaller than this one; 0 if there is none."""
    chunks = _selection.chunks_of_row(bits.shape[1])
    t = np.repeat(keys, chunks)
    _largest_of_segments_below(workers(), bits.reshape(-1), constants, t)
    return t.reshape(-1, chunks).max(axis=1)


@njit
def _largest_below_block(b, x, rule, t):
    zero = x.dtype.type(0)
    for s in segments_of(b, t.size, x.size):
        start, end = segment(s, t.size, x.size)
        part, bound, largest = x[start:end], t[s], zero
        for i in range(part.size):
            key = key_of(part[i], rule)
            largest = max(largest, key if key < bound else zero)
        t[s] = largest


@njit
def _largest_of_segments_below(pool, x, constants, t):
    args = (x, unpack(constants), t)
    parallel(pool, _largest_below_block, blocks_of(t.size, x.size), args, x.size // 4)
