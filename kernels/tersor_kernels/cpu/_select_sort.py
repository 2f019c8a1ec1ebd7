"""Sorting what was selected: by counting where it fits a SIMD value, else by radix."""

import numpy as np

from .._jit import njit
from ._native import array_at, at
from ._select_jobs import RULE
from ._select_kth import ranks_of, rule_at
from ._select_lanes import WORD, keys_of, load_part, size_of, store
from ._stream import copy

_DIGIT = 8
_DIGITS = 1 << _DIGIT


@njit
def scratch_of_sort(k, size):
    """Bytes that sorting k entries of so many bytes takes besides."""
    return (k + WORD) * (3 * size + 16) + size * _DIGITS * 4


def sort(dtype):
    """sort(job, x, places, k, scratch): k entries and their indices, the largest key first.

    Those with equal keys stay in order.
    """

    @njit
    def sort(job, x, places, k, scratch):
        size, rule = size_of(dtype), rule_at(at(job, RULE))
        sorted_, moved = scratch, scratch + (k + WORD) * size
        keys = moved + (k + WORD) * 8
        if k <= WORD:
            order = keys + (k + WORD) * size
            _order_by_counting(dtype, x, k, rule, keys, order)
        else:
            _, order = sort_keys(dtype, x, k, rule, keys)
        numbers, source = array_at(order, np.int32), array_at(x, dtype)
        target, indices = array_at(sorted_, dtype), array_at(places, np.int64)
        out = array_at(moved, np.int64)
        for i in range(k):
            j = np.uintp(numbers[np.uintp(i)])
            target[np.uintp(i)] = source[j]
            out[np.uintp(i)] = indices[j]
        copy(x, sorted_, k * size)
        copy(places, moved, 8 * k)
        return 0

    return sort


@njit
def _order_by_counting(dtype, x, k, rule, at_keys, order):
    keys = keys_of(load_part(dtype, x, k), rule)
    store(at_keys, keys, WORD)
    ranks = ranks_of(keys, at_keys, dtype, k)
    store(at_keys, ranks, WORD)
    first, order = array_at(at_keys, dtype), array_at(order, np.int32)
    taken = np.zeros(WORD, np.uint8)
    for i in range(k):
        rank = np.uintp(first[np.uintp(i)])
        order[rank + np.uintp(taken[rank])] = i
        taken[rank] += np.uint8(1)


@njit
def sort_keys(dtype, x, k, rule, memory):
    """Addresses of the keys of k entries, the largest first, and of the int32 places of each.

    memory : room for keys twice, int32 twice, and counters, as `scratch_of_sort` says
    """
    size = size_of(dtype)
    one, other = memory, memory + (k + WORD) * size
    order = memory + 2 * (k + WORD) * size
    spare = order + 4 * k
    counts = array_at(spare + 4 * k, np.int32)
    for i in range(size * _DIGITS):
        counts[np.uintp(i)] = 0
    for i in range(0, k, WORD):
        store(one + i * size, keys_of(load_part(dtype, x + i * size, k - i), rule), WORD)
    keys, numbers = array_at(one, dtype), array_at(order, np.int32)
    for i in range(k):
        key = ~np.uint64(keys[np.uintp(i)])  # ascending then is the largest first
        numbers[np.uintp(i)] = i
        for digit in range(size):
            counts[np.uintp(digit * _DIGITS) + (key >> np.uint64(8 * digit) & np.uint64(255))] += 1
    for digit in range(size):
        shift, base = np.uint64(8 * digit), np.uintp(digit * _DIGITS)
        keys, numbers = array_at(one, dtype), array_at(order, np.int32)
        if counts[base + (~np.uint64(keys[0]) >> shift & np.uint64(255))] == k:
            continue  # all are alike
        start = 0
        for d in range(_DIGITS):
            count = counts[base + np.uintp(d)]
            counts[base + np.uintp(d)] = start
            start += count
        to_keys, to_numbers = array_at(other, dtype), array_at(spare, np.int32)
        for i in range(k):
            key = keys[np.uintp(i)]
            place = base + (~np.uint64(key) >> shift & np.uint64(255))
            j = np.uintp(counts[place])
            counts[place] += 1
            to_keys[j] = key
            to_numbers[j] = numbers[np.uintp(i)]
        one, other = other, one
        order, spare = spare, order
    return one, order
