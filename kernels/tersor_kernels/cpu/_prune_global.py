"""How many entries each of several tensors keeps when all are ranked together."""

import numpy as np

from .._jit import njit
from . import _keys
from ._keys import key_of, unpack
from ._parallel import parallel, workers
from ._select_find import chunk, chunks_of

_DIGIT = 11  # bits of a radix digit: 2048 counters fit the L1 cache
_SCRATCH = 4096  # keys to compute at once, by vectors, before a loop that has none


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
        digit_bits = min(_DIGIT, shift)
        shift -= digit_bits
        counts = [_count_digits(x, constants, low, shift, digit_bits) for x in bits]
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


def _count_digits(x, constants, low, shift, digit_bits):
    """How often each digit occurs, where the bits above it are those of `low`."""
    counts = np.empty((chunks_of(x.size), 2**digit_bits + 1), np.int64)
    bits = x.dtype.type
    _histogram(workers(), x, constants, bits(low), bits(shift), counts)
    return counts[:, :-1].sum(axis=0)


@njit
def _histogram_block(b, x, rule, low, shift, counts):
    """Keys with other digits above fall in the last place."""
    start, end = chunk(b, x.size)
    digits, count = np.empty(_SCRATCH, np.uint16), counts[b]
    count[:] = 0
    outside = np.uint64(count.size - 1)
    for first in range(start, end, _SCRATCH):
        part = x[first : min(first + _SCRATCH, end)]
        for i in range(part.size):
            digit = np.uint64(type(low)(key_of(part[i], rule) - low) >> shift)
            digits[i] = digit if digit < outside else outside
        for i in range(part.size):
            count[digits[i]] += 1


@njit
def _histogram(pool, x, constants, low, shift, counts):
    args = (x, unpack(constants), low, shift, counts)
    parallel(pool, _histogram_block, counts.shape[0], args, x.size // 2)
