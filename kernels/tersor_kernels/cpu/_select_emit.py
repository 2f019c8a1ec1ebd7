"""What is written once the k-th key of a row is known: compiled functions that take addresses.

Each goes once over the n entries of a row, or of a chunk of it, packs what belongs together in
stages of STAGE entries, where an entry too many does no harm, and copies those out.

    emit(job, x, first, n, key, spare, a, b, c, scratch) -> how many entries are NaN, if asked

first : the index of the first entry in its row
spare : how many of the keys equal to `key`, the first of them, belong to those above it; n if all
a, b, c : where in the results those above, equal, below go
"""

import numpy as np

from .._jit import njit
from ._native import array_at, at
from ._select_jobs import NAN_TOO, OUT, PLACES, RULE
from ._select_kth import AHEAD, ALL, ONE, count_nan, fetch_ahead, rule_at
from ._select_lanes import (
    WORD,
    above,
    below,
    bits_of,
    bytes_of,
    choose,
    copy,
    equal,
    how_many,
    keys_of,
    load,
    load_part,
    mask_of,
    size_of,
    store,
    up_to,
    within,
)
from ._select_pack import pack, pack_places

STAGE = 1024
ROOM = STAGE + WORD  # entries of a stage


@njit(forceinline=True)
def _lowest(dtype, key, spare, n):
    """The lowest key that is chosen, and whether that does not say it: only some of the equal are.

    Nor does it where none are and there is no higher key.
    """
    if spare >= n:
        return key, False
    is_last = key == ALL >> np.uint64(WORD - 8 * size_of(dtype))
    return key + ONE, spare > 0 or is_last


@njit(forceinline=True)
def _chosen(keys, key, spare, some):
    """Those above `key`, and the first `spare` equal to it; how many of these are left."""
    ties = bits_of(equal(keys, key) & some)
    number = how_many(mask_of(ties))
    if number > spare:
        rest = ties
        for _ in range(spare):
            rest &= rest - ONE  # takes the lowest bit off
        ties &= ~rest
        number = spare
    return (above(keys, key) & some) | mask_of(ties), spare - number


def take(dtype):
    """Those above and `spare` equal ones in order, to OUT and their indices to PLACES, from a."""

    @njit
    def take(job, x, first, n, key, spare, a, b, c, scratch):
        size, rule, t = size_of(dtype), rule_at(at(job, RULE)), np.uint64(key)
        out, places = at(job, OUT) + a * size, array_at(at(job, PLACES), np.int64)
        staged, (low, is_partly) = scratch + ROOM * size, _lowest(dtype, t, spare, n)
        numbers = array_at(staged, np.int32)
        for start in range(0, n, STAGE):
            number, end = 0, min(n, start + STAGE)
            whole = start if is_partly else end - (end - start) % WORD
            for i in range(start, whole, WORD):
                fetch_ahead(dtype, x + i * size, AHEAD)
                entries = load(dtype, x + i * size)
                mask = within(keys_of(entries, rule), low, ALL)
                pack(scratch + number * size, entries, mask)
                number += pack_places(staged + number * 4, i - start, mask)
            for i in range(whole, end, WORD):
                entries, some = load_part(dtype, x + i * size, end - i), up_to(end - i)
                if is_partly:
                    mask, spare = _chosen(keys_of(entries, rule), t, spare, some)
                else:
                    mask = within(keys_of(entries, rule), low, ALL) & some
                pack(scratch + number * size, entries, mask)
                number += pack_places(staged + number * 4, i - start, mask)
            copy(out, scratch, number * size)
            out += number * size
            for i in range(number):
                places[np.uintp(a + i)] = first + start + numbers[np.uintp(i)]
            a += number
        return 0

    return take


def split(dtype, what):
    """All "entries", or their "places": those above from a, equal from b, below from c on."""
    is_places = what == "places"

    @njit
    def split(job, x, first, n, key, spare, a, b, c, scratch):
        size, rule, t = size_of(dtype), rule_at(at(job, RULE)), np.uint64(key)
        width = 4 if is_places else size
        one, two, three = scratch, scratch + ROOM * width, scratch + 2 * ROOM * width
        out = at(job, OUT)
        for start in range(0, n, STAGE):
            before, same, behind = 0, 0, 0
            for i in range(start, min(n, start + STAGE), WORD):
                fetch_ahead(dtype, x + i * size, AHEAD)
                entries, some = load_part(dtype, x + i * size, n - i), up_to(n - i)
                keys = keys_of(entries, rule)
                larger, smaller = above(keys, t) & some, below(keys, t) & some
                number = min(WORD, n - i)
                if is_places:
                    more = pack_places(one + before * 4, i - start, larger)
                    less = pack_places(three + behind * 4, i - start, smaller)
                    if more + less < number:
                        ties = some & ~(larger | smaller)
                        same += pack_places(two + same * 4, i - start, ties)
                else:
                    more = pack(one + before * size, entries, larger)
                    less = pack(three + behind * size, entries, smaller)
                    if more + less < number:
                        same += pack(two + same * size, entries, some & ~(larger | smaller))
                before, behind = before + more, behind + less
            if is_places:
                _widen(out + 8 * a, one, before, first + start)
                _widen(out + 8 * b, two, same, first + start)
                _widen(out + 8 * c, three, behind, first + start)
            else:
                copy(out + a * size, one, before * size)
                copy(out + b * size, two, same * size)
                copy(out + c * size, three, behind * size)
            a, b, c = a + before, b + same, c + behind
        return 0

    return split


@njit
def _widen(out, staged, number, base):
    out, staged = array_at(out, np.int64), array_at(staged, np.int32)
    for i in range(number):
        out[np.uintp(i)] = base + staged[np.uintp(i)]


def keep(dtype, what):
    """A "mask", or the "entries" and 0 for the rest: kept are those above and `spare` equal."""
    is_mask = what == "mask"

    @njit
    def keep(job, x, first, n, key, spare, a, b, c, scratch):
        size, rule, t = size_of(dtype), rule_at(at(job, RULE)), np.uint64(key)
        out, nans = at(job, OUT) + (a + first) * (1 if is_mask else size), 0
        low, is_partly = _lowest(dtype, t, spare, n)
        for start in range(0, n, STAGE):
            end = min(n, start + STAGE)
            if at(job, NAN_TOO):
                nans += count_nan(dtype, x + start * size, end - start, rule)
            whole = start if is_partly else end - (end - start) % WORD
            for i in range(start, whole, WORD):
                fetch_ahead(dtype, x + i * size, AHEAD)
                entries = load(dtype, x + i * size)
                mask = within(keys_of(entries, rule), low, ALL)
                if is_mask:
                    store(out + i, bytes_of(mask), WORD)
                else:
                    store(out + i * size, choose(entries, mask), WORD)
            for i in range(whole, end, WORD):
                entries, some = load_part(dtype, x + i * size, end - i), up_to(end - i)
                if is_partly:
                    mask, spare = _chosen(keys_of(entries, rule), t, spare, some)
                else:
                    mask = within(keys_of(entries, rule), low, ALL)
                if is_mask:
                    store(out + i, bytes_of(mask), end - i)
                else:
                    store(out + i * size, choose(entries, mask), end - i)
        return nans

    return keep
