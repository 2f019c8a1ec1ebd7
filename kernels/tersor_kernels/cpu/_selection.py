"""Exact selection by radix: what pruning and the order statistics share.

Arrays are the bits of (rows, n) as `_keys.as_bits` gives them. Passes over them work on segments:
short rows, or chunks of long ones, that several threads share.
"""

from functools import cache
from math import ceil, floor, sqrt

import numpy as np

from .._jit import njit
from ._common import BLOCK
from ._keys import key_of, own_keys, unpack
from ._parallel import parallel, workers

DIGIT = 11  # bits of a radix digit: 2048 counters fit the L1 cache
# A row from LONG entries on is cut in chunks of CHUNK or more, at most CHUNKS of them.
LONG, CHUNK, CHUNKS = 8 * BLOCK, 4 * BLOCK, 128
_SCRATCH = 4096  # keys to compute at once, by vectors, before a loop that has none


def chunks_of_row(n):
    """In how many segments a row of n entries is cut."""
    return 1 if n < LONG else min(CHUNKS, -(-n // CHUNK))


@njit(forceinline=True)
def segment(s, segments, n):
    """Where segment s of n entries begins and ends: a row, or a chunk of a long one."""
    return s * n // segments, (s + 1) * n // segments


@njit(forceinline=True)
def blocks_of(segments, n):
    """How many blocks of about BLOCK entries."""
    step = max(1, BLOCK * segments // max(n, 1))
    return -(-segments // step)


@njit(forceinline=True)
def segments_of(b, segments, n):
    """The segments of block b."""
    step = max(1, BLOCK * segments // max(n, 1))
    return range(b * step, min(segments, (b + 1) * step))


def count_nan(bits, constants):
    """How many entries of each row are NaN."""
    rows, n = bits.shape
    counts = np.zeros((rows, chunks_of_row(n)), np.int64)
    _count_nan(workers(), bits.reshape(-1), constants, counts.reshape(-1))
    return counts.sum(axis=1)


@njit
def _count_nan_block(b, x, rule, counts):
    mask, inf = rule[0], rule[5]
    for s in segments_of(b, counts.size, x.size):
        start, end = segment(s, counts.size, x.size)
        part, count = x[start:end], np.int32(0)
        for i in range(part.size):
            count += np.int32((part[i] & mask) > inf)
        counts[s] = count


@njit
def _count_nan(pool, x, constants, counts):
    args = (x, unpack(constants), counts)
    parallel(pool, _count_nan_block, blocks_of(counts.size, x.size), args, x.size // 8)


def count_against(bits, constants, keys):
    """How many keys are larger than that of their row, and equal: (rows, chunks), twice."""
    rows, n = bits.shape
    t = np.repeat(keys, chunks_of_row(n))
    counts = np.empty((2, t.size), np.int64)
    _count(workers(), bits.reshape(-1), constants, t, *counts)
    return counts.reshape(2, rows, -1)


@njit
def _count_block(b, x, rule, t, larger, equal):
    for s in segments_of(b, t.size, x.size):
        start, end = segment(s, t.size, x.size)
        part, bound = x[start:end], t[s]
        above, same = np.int32(0), np.int32(0)
        for i in range(part.size):
            key = key_of(part[i], rule)
            above += np.int32(key > bound)
            same += np.int32(key == bound)
        larger[s], equal[s] = above, same


@njit
def _count(pool, x, constants, t, larger, equal):
    args = (x, unpack(constants), t, larger, equal)
    parallel(pool, _count_block, blocks_of(t.size, x.size), args, x.size // 4)


def kth_largest(bits, constants, width, k):
    """The k-th largest key (from 1) of each row, and how many are larger and equal.

    k : an int, or one for each row
    """
    rows, n = bits.shape
    bits = bits.view()
    bits.flags.writeable = False  # as `as_bits` does: another type would be compiled again
    k = np.full(rows, k, np.int64)
    keys, larger, equal = np.empty(rows, bits.dtype), np.empty_like(k), np.empty_like(k)
    if n < LONG:
        _kth_of_short_rows(workers(), bits, constants, k, keys, larger, equal)
    else:
        for r in range(rows):
            found = _kth_by_sample(bits[r], constants, width, int(k[r]))
            found = found or _kth_by_digits(bits[r], constants, width, int(k[r]))
            keys[r], larger[r], equal[r] = found
    return keys, larger, equal


def _kth_by_sample(x, constants, width, k):
    """Gather the keys between two that the k-th lies between almost surely, and select there.

    One pass instead of two. None if the k-th does not lie there, or too much else does.
    """
    n, m = x.size, 16384 if x.size < 2**22 else 65536
    rank, slack = m * k / n, 4.5 * sqrt(m * k / n * (1 - k / n)) + 2
    ranks = np.array([floor(rank - slack), ceil(rank + slack)])
    sample = x[(_spread(m) * n).astype(np.int64)]
    twice = np.stack([sample, sample])
    (high, low), _, _ = kth_largest(twice, constants, width, ranks.clip(1, m))
    high = high if ranks[0] > 0 else ~x.dtype.type(0)
    low = low if ranks[1] <= m else x.dtype.type(0)
    larger, between, keys = _keys_between(x, constants, low, high)
    if not larger < k <= larger + between:
        return None
    if low == high:
        return low, larger, between
    return None if keys is None else _kth_of_keys(keys, width, k, larger)


@cache
def _spread(m):
    """m numbers in 0..1, evenly spread and with no period that data could have (Weyl)."""
    return np.arange(m) * 0.6180339887498949 % 1


def _kth_of_keys(keys, width, k, larger):
    """The k-th largest, where those larger than all of `keys` are already counted."""
    key, more, equal = kth_largest(keys[None], own_keys(keys.dtype), width, k - larger)
    return key[0], larger + int(more[0]), int(equal[0])


def _keys_between(x, constants, low, high):
    """How many keys are larger than high, how many between, and these; None if they are many."""
    chunks = chunks_of_row(x.size)
    counts = np.empty((2, chunks), np.int64)
    gathered = np.empty((chunks, x.size // chunks // 8), x.dtype)
    _gather_between(workers(), x, constants, low, high, *counts, gathered)
    larger, between = counts.sum(axis=1).tolist()
    if counts[1].max() >= gathered.shape[1]:  # what came last was overwritten
        return larger, between, None
    pieces = [piece[:count] for piece, count in zip(gathered, counts[1], strict=True)]
    return larger, between, np.concatenate(pieces)


@njit
def _gather_between_block(b, x, rule, low, high, larger, between, out):
    """Mark what is between, which vectorizes; then collect, skipping eight at once without any."""
    start, end = segment(b, larger.size, x.size)
    result, last = out[b], out.shape[1] - 1
    keys, marks = np.empty(_SCRATCH, x.dtype), np.empty(_SCRATCH, np.uint8)
    eight = marks.view(np.uint64)
    above, j = 0, 0
    for first in range(start, end, _SCRATCH):
        part = x[first : min(first + _SCRATCH, end)]
        count = np.int32(0)
        for i in range(part.size):
            key = key_of(part[i], rule)
            count += np.int32(key > high)
            marks[i] = (key >= low) & (key <= high)
            keys[i] = key
        marks[part.size :] = 0
        for e in range(-(-part.size // 8)):
            if eight[e] != 0:
                for i in range(8 * e, 8 * e + 8):
                    result[min(j, last)] = keys[i]  # the next one overwrites it if not marked
                    j += marks[i]
        above += count
    larger[b], between[b] = above, j


@njit
def _gather_between(pool, x, constants, low, high, larger, between, out):
    args = (x, unpack(constants), low, high, larger, between, out)
    parallel(pool, _gather_between_block, larger.size, args, x.size // 2)


def _kth_by_digits(x, constants, width, k):
    """By radix, the most significant digit first, until few keys are left."""
    low, larger, shift = 0, 0, width
    while True:
        digit_bits = min(DIGIT, shift)
        shift -= digit_bits
        counts = histogram(x, constants, low, shift, digit_bits)
        from_digit = counts[::-1].cumsum()[::-1]
        digit = int((from_digit >= k - larger).nonzero()[0][-1])
        equal = int(counts[digit])
        larger += int(from_digit[digit]) - equal
        low += digit << shift
        if shift == 0:
            return x.dtype.type(low), larger, equal
        if equal <= x.size // 8:
            bounds = (x.dtype.type(low), x.dtype.type(low + (1 << shift) - 1))
            _, _, keys = _keys_between(x, constants, *bounds)
            if keys is not None:
                return _kth_of_keys(keys, width, k, larger)


def histogram(x, constants, low, shift, digit_bits):
    """How often each digit of a row occurs, where the bits above it are those of `low`."""
    counts = np.empty((chunks_of_row(x.size), 2**digit_bits + 1), np.int64)
    _histogram(workers(), x, constants, x.dtype.type(low), x.dtype.type(shift), counts)
    return counts[:, :-1].sum(axis=0)


@njit
def _histogram_block(b, x, rule, low, shift, counts):
    """Keys with other digits above fall in the last place."""
    start, end = segment(b, counts.shape[0], x.size)
    digits, count = np.empty(_SCRATCH, np.uint16), counts[b]
    count[:] = 0
    outside = type(low)(count.size - 1)
    for first in range(start, end, _SCRATCH):
        part = x[first : min(first + _SCRATCH, end)]
        for i in range(part.size):
            digit = type(low)(key_of(part[i], rule) - low) >> shift
            digits[i] = digit if digit < outside else outside
        for i in range(part.size):
            count[digits[i]] += 1


@njit
def _histogram(pool, x, constants, low, shift, counts):
    args = (x, unpack(constants), low, shift, counts)
    parallel(pool, _histogram_block, counts.shape[0], args, x.size // 2)


@njit
def _kth_of_row(keys, k, counts):
    """As `kth_largest`; `keys` are destroyed. The digits are those in which the keys differ."""
    larger, n = 0, keys.size
    low, high = keys.min(), keys.max()
    while low != high:
        shift = type(low)(0)
        while type(low)(high - low) >> shift >= counts.size:
            shift = type(low)(shift + type(low)(1))
        digit = np.int64(type(low)(high - low) >> shift)
        counts[: digit + 1] = 0
        for i in range(n):
            counts[type(low)(keys[i] - low) >> shift] += 1
        while larger + counts[digit] < k:
            larger += counts[digit]
            digit -= 1
        kept, base = 0, low
        low, high = high, low
        for i in range(n):
            key = keys[i]
            if type(base)(key - base) >> shift == type(base)(digit):
                keys[kept] = key
                kept += 1
                low, high = min(low, key), max(high, key)
        n = kept
    return low, larger, n


@njit
def _kth_of_short_rows_block(b, x, rule, k, t, larger, equal):
    n = x.shape[1]
    size = 16  # about as many counters as keys
    while size < min(n, 2**DIGIT):
        size *= 2
    keys, counts = np.empty(n, x.dtype), np.empty(size, np.int64)
    for r in segments_of(b, t.size, x.size):
        row = x[r]
        for i in range(n):
            keys[i] = key_of(row[i], rule)
        t[r], larger[r], equal[r] = _kth_of_row(keys, k[r], counts)


@njit
def _kth_of_short_rows(pool, x, constants, k, t, larger, equal):
    args = (x, unpack(constants), k, t, larger, equal)
    parallel(pool, _kth_of_short_rows_block, blocks_of(t.size, x.size), args, 2 * x.size)
