"""Exact selection by radix: what pruning and the order statistics share.

Entries are compared by keys: unsigned integers in the wanted order, computed on the fly from the
bits of a float or an integer. A rule says how, as seven constants:

    magnitude = bits & mask
    s         = negative if bits > top else positive          # all ones or 0
    key       = nan if magnitude > inf else (magnitude ^ s) - s + add

(m ^ s) - s is -m where s is all ones, so -0.0 and 0.0 have one key, and so have all NaN.
"""

from functools import cache
from math import ceil

import numpy as np

from .._jit import njit
from ._common import BLOCK
from ._parallel import parallel

DIGIT = 11  # bits of a radix digit: 2048 counters fit the L1 cache
# A long row is cut in chunks, each with its own counters, at most CHUNKS of them.
CHUNK, CHUNKS = 4 * BLOCK, 128


def as_bits(x):
    """The bits of `x`, C-contiguous, as unsigned integers of 16 bits or more.

    Read-only always, so that kernels are compiled once and not again for read-only input.
    """
    if x.dtype.itemsize == 1:
        x = x.astype(np.int16 if x.dtype.kind == "i" else np.uint16)
    if not (x.flags.c_contiguous and x.flags.aligned and x.dtype.isnative):
        x = np.array(x, x.dtype.newbyteorder("="), order="C")
    bits = x.view(f"u{x.dtype.itemsize}")
    bits.flags.writeable = False
    return bits


@cache
def key_rule(dtype, order, nan="low"):
    """The constants of the keys of `dtype`, and how many low bits of a key can differ from 0.

    order : "ascending", "descending": a larger, smaller entry has a larger key; "magnitude"
    nan : "low" or "high", the key of NaN: below or above all others
    """
    kind = "f" if dtype.name == "bfloat16" else dtype.kind
    width = 8 * max(dtype.itemsize, 2)
    ones, half = 2**width - 1, 2 ** (width - 1)
    mask, top, inf, positive, negative = ones, half - 1, ones, 0, 0
    if kind == "f":
        mask, negative = half - 1, ones
        inf = int(np.array(np.inf, dtype).view(f"u{dtype.itemsize}"))
    if order == "magnitude":
        # One is left free below, for NaN. |-2**(width-1)| takes the whole width.
        add = 1 if kind == "f" else 0
        negative = ones if kind == "i" else 0
        width -= kind == "f"
    elif order == "ascending":
        add = 0 if kind in "ub" else half
    else:
        positive, negative = ones, ones - negative
        add = ones if kind in "ub" else half - (kind == "i")
    if kind in "ub":
        top = ones
    nan_key = 0 if nan == "low" else 2**width - 1
    constants = (mask, top, positive, negative, add, inf, nan_key)
    return np.array(constants, f"u{max(dtype.itemsize, 2)}"), width


def key_from(value, dtype, order, constants):
    """The smallest key of entries that are at least `value`; None if none can be."""
    add = int(constants[4])
    if dtype.kind in "iub":
        info = np.iinfo(np.uint8 if dtype.kind == "b" else dtype)
        smallest, largest = info.min, info.max
        if order == "magnitude":
            smallest, largest = 0, max(info.max, -info.min)
        if value > largest:
            return None
        return constants.dtype.type(ceil(max(value, smallest)) + (order == "ascending") * add)
    with np.errstate(over="ignore"):
        nearest = np.array(max(value, 0) if order == "magnitude" else value).astype(dtype)
    magnitude = int(np.abs(nearest).view(f"u{dtype.itemsize}"))
    key = add + (-magnitude if nearest < 0 else magnitude)
    return constants.dtype.type(key + (float(nearest) < value))


@njit(forceinline=True)
def unpack(constants):
    """The constants by value: read from the array, they would be read again for each entry."""
    c = constants
    return (c[0], c[1], c[2], c[3], c[4], c[5], c[6])


@njit(forceinline=True)
def key_of(bits, rule):
    mask, top, positive, negative, add, inf, nan = rule
    magnitude = bits & mask
    s = negative if bits > top else positive
    return nan if magnitude > inf else type(bits)((magnitude ^ s) - s + add)


@njit
def _count_nan_block(b, x, rule, counts):
    mask, inf = rule[0], rule[5]
    part = x[b * BLOCK : (b + 1) * BLOCK]
    count = np.int32(0)
    for i in range(part.size):
        count += np.int32((part[i] & mask) > inf)
    counts[b] = count


@njit
def count_nan(pool, x, constants):
    """How many entries of a 1-D array of bits are NaN."""
    blocks = -(-x.size // BLOCK)
    counts = np.empty(blocks, np.int64)
    parallel(pool, _count_nan_block, blocks, (x, unpack(constants), counts), x.size // 4)
    return counts.sum()


@njit(forceinline=True)
def chunk(b, chunks, n):
    """Where chunk b of n entries begins and ends."""
    return b * n // chunks, (b + 1) * n // chunks


@njit
def chunks_of(n):
    return min(CHUNKS, -(-n // CHUNK))


@njit
def histogram_block(b, x, rule, low, shift, counts):
    """Count the digits of the keys of chunk b from `low` on; other keys fall in the last place."""
    start, end = chunk(b, counts.shape[0], x.size)
    part, count = x[start:end], counts[b]
    count[:] = 0
    outside = type(low)(count.size - 1)
    for i in range(part.size):
        digit = type(low)(key_of(part[i], rule) - low) >> shift
        count[min(digit, outside)] += 1


@njit
def _gather_block(b, x, rule, low, shift, starts, out):
    """Write the keys of chunk b whose digit is 0 to `out`, from starts[b] on."""
    start, end = chunk(b, starts.size - 1, x.size)
    part, result = x[start:end], out[starts[b] : starts[b + 1]]
    j = 0
    for i in range(part.size):
        key = key_of(part[i], rule)
        if type(low)(key - low) >> shift == 0:
            result[j] = key
            j += 1


@njit
def kth_largest(pool, x, rule, width, k):
    """The k-th largest key (k from 1) of a 1-D array of bits; how many are larger, and equal.

    Most significant digit first. Once an eighth or less of the entries can still be the one, their
    keys are gathered, and only those are read from then on.
    """
    U = x.dtype.type
    source, low, larger, shift = x, U(0), 0, np.int64(width)
    while True:
        digit_bits = min(DIGIT, shift)
        shift -= digit_bits
        chunks = chunks_of(source.size)
        counts = np.empty((chunks, 2**digit_bits + 1), np.int64)
        args = (source, rule, low, U(shift), counts)
        parallel(pool, histogram_block, chunks, args, source.size)
        digit = 2**digit_bits - 1
        equal = counts[:, digit].sum()
        while larger + equal < k:
            larger += equal
            digit -= 1
            equal = counts[:, digit].sum()
        low = U(low + (U(digit) << U(shift)))
        if shift == 0:
            return low, larger, equal
        if equal <= source.size // 8:
            starts = np.zeros(chunks + 1, np.int64)
            starts[1:] = np.cumsum(counts[:, digit])
            gathered = np.empty(equal, x.dtype)
            args = (source, rule, low, U(shift), starts, gathered)
            parallel(pool, _gather_block, chunks, args, source.size)
            source = gathered
            ones = U(~U(0))
            rule = (ones, ones, U(0), U(0), U(0), ones, U(0))  # a key is its own key


@njit
def counters(n):
    """Scratch for `kth_largest_of_row` of n keys: about as many counters as keys."""
    size = 16
    while size < min(n, 2**DIGIT):
        size *= 2
    return np.empty(size, np.int64)


@njit
def kth_largest_of_row(keys, k, counts):
    """`kth_largest` of a few keys, which are destroyed: the digits are those in which they differ.

    Left over at the end are as many keys as are equal.
    """
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
