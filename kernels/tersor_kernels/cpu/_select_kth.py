"""The k-th largest key of entries that fit a cache, by packing what a sample leaves in question."""

from math import ceil, floor, sqrt

import numpy as np

from .._jit import njit
from ._native import array_at, prefetch
from ._select_lanes import (
    WORD,
    above,
    add_below,
    below,
    choose,
    equal,
    greatest,
    how_many,
    keys_of,
    least,
    load,
    load_part,
    nans_of,
    raise_below,
    size_of,
    store,
    up_to,
    within,
    zeros_like,
)
from ._select_pack import pack

ALL, ONE = np.uint64(2**64 - 1), np.uint64(1)
# Bytes ahead of those in use: the CPU's own prefetching stops at each page. 8 KB and more halve the
# time of a pass over float64 in memory.
AHEAD = 8192
_SLACK = 2.0  # standard deviations of a rank in the sample: 1 in 20 misses, for 28 % left


@njit(forceinline=True)
def rule_at(address):
    """The constants of `_keys.key_rule`, eight bytes each, by value."""
    c = array_at(address, np.uint64)
    return (c[0], c[1], c[2], c[3], c[4], c[5])


@njit(forceinline=True)
def own_rule():
    """The rule of keys themselves."""
    zero = np.uint64(0)
    return (ALL, zero, zero, zero, ALL, zero)


@njit(forceinline=True)
def entry_of(key, rule, size):
    """The bits of an entry that has this "descending" key; 0.0 for -0.0."""
    mask, _, _, add, inf, _ = rule
    sign = np.uint64(1) << np.uint64(8 * size - 1)
    value = (add - key) & (mask | sign)
    if mask & sign:  # an integer
        return value
    if key == 0:
        return inf | (inf & (~inf + np.uint64(1))) >> np.uint64(1)  # a quiet NaN
    return sign | (~value + np.uint64(1)) & mask if value & sign else value


@njit(forceinline=True)
def fetch_ahead(dtype, address, distance):
    """Fetch a word of entries that comes `distance` bytes later."""
    for line in range(size_of(dtype)):
        prefetch(address + distance + 64 * line)


@njit
def collect(dtype, x, n, rule, low, high, out, room, ahead):
    """Pack keys in low..high to `out`, which has room for so many and WORD more.

    Returns how many keys are above high and how many within; more than there is room for overwrite
    each other.
    """
    size, larger, inside, whole = size_of(dtype), 0, 0, n - n % WORD
    for i in range(0, whole, WORD):
        fetch_ahead(dtype, x + i * size, ahead)
        keys = keys_of(load(dtype, x + i * size), rule)
        larger += how_many(above(keys, high))
        inside += pack(out + size * min(inside, room), keys, within(keys, low, high))
    if whole < n:
        keys = keys_of(load_part(dtype, x + whole * size, n - whole), rule)
        some = up_to(n - whole)
        larger += how_many(above(keys, high) & some)
        inside += pack(out + size * min(inside, room), keys, within(keys, low, high) & some)
    return larger, inside


@njit
def count_keys(dtype, x, n, rule, key):
    """How many keys are larger than `key`, how many equal, and the largest below, or 0."""
    size, larger, same, whole = size_of(dtype), 0, 0, n - n % WORD
    best = zeros_like(load_part(dtype, x, n))
    for i in range(0, whole, WORD):
        fetch_ahead(dtype, x + i * size, AHEAD)
        keys = keys_of(load(dtype, x + i * size), rule)
        larger += how_many(above(keys, key))
        same += how_many(equal(keys, key))
        best = raise_below(best, keys, key)
    if whole < n:
        some = up_to(n - whole)
        keys = keys_of(load_part(dtype, x + whole * size, n - whole), rule)
        larger += how_many(above(keys, key) & some)
        same += how_many(equal(keys, key) & some)
        best = raise_below(best, choose(keys, some), key)
    return larger, same, greatest(best)


@njit
def count_nan(dtype, x, n, rule):
    """How many entries are NaN."""
    size, nans, whole = size_of(dtype), 0, n - n % WORD
    for i in range(0, whole, WORD):
        nans += how_many(nans_of(load(dtype, x + i * size), rule))
    if whole < n:
        entries = load_part(dtype, x + whole * size, n - whole)
        nans += how_many(nans_of(entries, rule) & up_to(n - whole))
    return nans


@njit(forceinline=True)
def ranks_of(keys, at, dtype, n):
    """How many of the first n keys, which are also at an address, are larger than each."""
    ranks, numbers = zeros_like(keys), array_at(at, dtype)
    for i in range(n):
        ranks = add_below(ranks, keys, np.uint64(numbers[i]))
    return ranks


@njit(forceinline=True)
def _bounds(dtype, x, n, rule, k, sample):
    """Keys between which the k-th largest lies most likely, and one near to it."""
    entries, drawn = array_at(x, dtype), array_at(sample, dtype)
    weyl = np.uint64(0)  # evenly spread, and with no period that data could have
    for i in range(WORD):
        drawn[i] = entries[np.intp(weyl * np.uint64(n) >> np.uint64(32))]
        weyl = (weyl + np.uint64(0x9E3779B9)) & np.uint64(0xFFFFFFFF)
    keys = keys_of(load(dtype, sample), rule)
    store(sample, keys, WORD)
    ranks = ranks_of(keys, sample, dtype, WORD)
    share = k / n
    slack = _SLACK * sqrt(WORD * share * (1 - share)) + 1
    first, middle, last = (
        floor(WORD * share - slack),
        ceil(WORD * share),
        ceil(WORD * share + slack),
    )
    high = ALL if first < 1 else least(keys, below(ranks, np.uint64(first)))
    low = np.uint64(0) if last > WORD else least(keys, below(ranks, np.uint64(last)))
    return low, least(keys, below(ranks, np.uint64(middle))), high


@njit
def kth(dtype, x, n, rule, k, memory):
    """The k-th largest key (from 1) of n entries, how many are larger, and how many equal.

    memory : the address of room for 2 * n + 3 * WORD keys
    """
    room = (n + WORD) * size_of(dtype)
    sample, target, free = memory + 2 * room, memory, memory + room
    larger, ahead = 0, max(AHEAD, n * size_of(dtype))  # the next row, where that is longer
    while n > WORD:
        low, middle, high = _bounds(dtype, x, n, rule, k, sample)
        before, inside = collect(dtype, x, n, rule, low, high, target, n, ahead)
        if low < high and inside > n - n // 4:  # ties: next to nothing would be gained
            low = high = middle
            before, inside = collect(dtype, x, n, rule, low, high, target, n, 0)
        if k <= before:
            _, inside = collect(dtype, x, n, rule, high + ONE, ALL, target, n, 0)
            before = 0
        elif k > before + inside:
            before += inside
            _, inside = collect(dtype, x, n, rule, np.uint64(0), low - ONE, target, n, 0)
        elif low == high:
            return low, larger + before, inside
        k, larger, n = k - before, larger + before, inside
        x, rule, ahead = target, own_rule(), 0
        target, free = free, target
    keys, some = keys_of(load_part(dtype, x, n), rule), up_to(n)
    store(sample, keys, WORD)
    ranks = ranks_of(keys, sample, dtype, n)
    key = least(keys, below(ranks, np.uint64(k)) & some)
    larger += how_many(above(keys, key) & some)
    return key, larger, how_many(equal(keys, key) & some)
