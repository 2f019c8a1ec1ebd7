"""How many entries each of several tensors keeps when all are ranked together."""

from functools import cache

import numpy as np

from .._jit import njit
from ._keys import key_rule
from ._native import address, array_at, at, run
from ._parallel import workers
from ._select_find import chunk, chunks_of
from ._select_gather import contiguous
from ._select_kth import AHEAD, fetch_ahead, rule_at
from ._select_lanes import WORD, keys_of, load_part, size_of, store

_DIGIT = 11  # bits of a radix digit: 2048 counters fit the L1 cache
# What blocks find in their job.
_X, _COUNTS, _RULE, _N, _LOW, _SHIFT, _DIGITS = range(7)


def global_counts(tensors, k, least, magnitude):
    """How many entries each 1-D tensor keeps: at least `least` of its own, and k in all.

    The counters of each tensor stay apart: they tell how many entries it would keep, from a digit
    on, for every digit, and only the sum is compared with k.
    """
    order = "magnitude" if magnitude else "ascending"
    _, shift = key_rule(tensors[0].dtype, order)
    tensors = [contiguous(x) for x in tensors]
    low, larger = 0, np.zeros(len(tensors), np.int64)
    least = np.array(least)
    while shift:
        digit_bits = min(_DIGIT, shift)
        shift -= digit_bits
        counts = np.array([_count_digits(x, order, low, shift, digit_bits) for x in tensors])
        from_digit = larger[:, None] + counts[:, ::-1].cumsum(axis=1)[:, ::-1]
        enough = np.maximum(from_digit, least[:, None]).sum(axis=0) >= k
        digit = int(enough.nonzero()[0][-1])
        larger += counts[:, digit + 1 :].sum(axis=1)
        low += digit << shift
    kept = np.maximum(larger, least)
    room = np.maximum(larger + counts[:, digit], least) - kept
    spare = k - kept.sum() - (room.cumsum() - room)  # the first tensor's equals come first
    return (kept + spare.clip(0, room)).tolist()


def _count_digits(x, order, low, shift, digit_bits):
    """How often each digit occurs, where the bits above it are those of `low`."""
    digits = 2**digit_bits
    counts = np.zeros((chunks_of(x.size), digits + 1), np.int64)
    if x.size:
        constants = [key_rule(x.dtype, order)[0].ctypes.data, x.size, low, shift, digits]
        job = np.array(constants, np.uint64).view(np.int64)
        code, blocks = _code(x.dtype.itemsize)[0], len(counts)
        run(workers(), code, blocks, (x, counts), job, WORD * x.dtype.itemsize, 2 * x.size)
    return counts[:, :-1].sum(axis=0)


@cache
def _code(size):
    function = _histogram(np.dtype(f"u{size}"))
    return address(function, 3), function


def _histogram(dtype):
    """A block: count the digits of a chunk; keys with other digits above fall in the last place."""

    @njit
    def histogram(b, job, scratch):
        size, rule, n = size_of(dtype), rule_at(at(job, _RULE)), at(job, _N)
        low, shift = np.uint64(at(job, _LOW)), np.uint64(at(job, _SHIFT))
        outside, keys = np.uint64(at(job, _DIGITS)), array_at(scratch, dtype)
        counts = array_at(at(job, _COUNTS) + 8 * b * (at(job, _DIGITS) + 1), np.int64)
        start, end = chunk(b, n)
        for i in range(start, end, WORD):
            x = at(job, _X) + i * size
            fetch_ahead(dtype, x, AHEAD)
            store(scratch, keys_of(load_part(dtype, x, end - i), rule), WORD)
            for j in range(min(WORD, end - i)):
                key = np.uint64(keys[np.uintp(j)])
                counts[min((key - low) >> shift, outside)] += 1
        return 0

    return histogram
