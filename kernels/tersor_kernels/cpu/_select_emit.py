"""What is written once the k-th key of a row is known: compiled functions that take addresses.

Each goes once over the n entries of a row, or of a chunk of it, packs what belongs together in
stages of STAGE entries, where an entry too many does no harm, and copies those out.

    emit(job, x, first, n, key, spare, a, b, c, scratch) -> how many entries are NaN

first : the index of the first entry in its row
spare : how many of the keys equal to `key`, the first of them, belong to those above it
a, b, c : where in the results those above, equal, below go
"""

import numpy as np

from .._jit import njit
from ._native import array_at, at
from ._select_jobs import OUT, PLACES, RULE
from ._select_kth import AHEAD, fetch_ahead, rule_at
from ._select_lanes import (
    WORD,
    above,
    all_yes,
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
    nans_of,
    size_of,
    store,
    up_to,
)
from ._select_pack import pack, pack_places

STAGE = 1024
ROOM = STAGE + WORD  # entries of a stage


@njit(forceinline=True)
def _chosen(keys, key, spare, some):
    """Those above `key`, and the first `spare` equal to it; how many of these are left."""
    mask = above(keys, key) & some
    if spare > 0:
        ties = bits_of(equal(keys, key) & some)
        if ties != 0:
            number = how_many(mask_of(ties))
            if number > spare:
                rest = ties
                for _ in range(spare):
                    rest &= rest - np.uint64(1)  # takes the lowest bit off
                ties &= ~rest
                number = spare
            spare -= number
            mask = mask | mask_of(ties)
    return mask, spare


def take(dtype):
    """Those above and `spare` equal ones in order, to OUT and their indices to PLACES, from a."""

    @njit
    def take(job, x, first, n, key, spare, a, b, c, scratch):
        size, rule, t = size_of(dtype), rule_at(at(job, RULE)), np.uint64(key)
        out, places = at(job, OUT) + a * size, array_at(at(job, PLACES), np.int64)
        staged = scratch + ROOM * size
        numbers = array_at(staged, np.int32)
        for start in range(0, n, STAGE):
            number, end = 0, min(n, start + STAGE)
            whole = end - (end - start) % WORD
            for i in range(start, whole, WORD):
                fetch_ahead(dtype, x + i * size, AHEAD)
                entries = load(dtype, x + i * size)
                mask, spare = _chosen(keys_of(entries, rule), t, spare, all_yes())
                pack(scratch + number * size, entries, mask)
                number += pack_places(staged + number * 4, i - start, mask)
            if whole < end:
                entries = load_part(dtype, x + whole * size, end - whole)
                mask, spare = _chosen(keys_of(entries, rule), t, spare, up_to(end - whole))
                pack(scratch + number * size, entries, mask)
                number += pack_places(staged + number * 4, whole - start, mask)
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
        for start in range(0, n, STAGE):
            before, same, behind = 0, 0, 0
            for i in range(start, min(n, start + STAGE), WORD):
                fetch_ahead(dtype, x + i * size, AHEAD)
                entries, some = load_part(dtype, x + i * size, n - i), up_to(n - i)
                keys = keys_of(entries, rule)
                larger, ties = above(keys, t) & some, equal(keys, t) & some
                smaller = some & ~(larger | ties)
                if is_places:
                    before += pack_places(one + before * 4, i - start, larger)
                    behind += pack_places(three + behind * 4, i - start, smaller)
                    if bits_of(ties) != 0:
                        same += pack_places(two + same * 4, i - start, ties)
                else:
                    before += pack(one + before * size, entries, larger)
                    behind += pack(three + behind * size, entries, smaller)
                    if bits_of(ties) != 0:
                        same += pack(two + same * size, entries, ties)
            out = at(job, OUT)
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
        for i in range(0, n, WORD):
            fetch_ahead(dtype, x + i * size, AHEAD)
            entries, some = load_part(dtype, x + i * size, n - i), up_to(n - i)
            nans += how_many(nans_of(entries, rule) & some)
            mask, spare = _chosen(keys_of(entries, rule), t, spare, some)
            if is_mask:
                store(out + i, bytes_of(mask), n - i)
            else:
                store(out + i * size, choose(entries, mask), n - i)
        return nans

    return keep
