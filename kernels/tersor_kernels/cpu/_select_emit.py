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
from ._select_jobs import NAN_TOO, OUT, PLACES, RULE, STREAMS
from ._select_kth import AHEAD, ALL, ONE, count_nan, fetch_ahead, rule_at
from ._select_lanes import (
    WORD,
    above,
    below,
    bits_of,
    bytes_of,
    choose,
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
from ._stream import copy, stream

STAGE = 1024
ROOM = STAGE + WORD  # entries of a stage


@njit
def scratch_of_stages(size):
    """Bytes that emitters take: three stages."""
    return 3 * ROOM * max(size, 4)


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


@njit
def _write(job, out, staged, size):
    """Copy so many bytes from a stage to results."""
    if at(job, STREAMS):
        stream(out, staged, size)
    else:
        copy(out, staged, size)


@njit
def _write_places(out, staged, number, base):
    """Results of int64: what is staged as int32, and `base`. (To stream them was no faster.)"""
    out, numbers = array_at(out, np.int64), array_at(staged, np.int32)
    for i in range(number):
        out[np.uintp(i)] = base + numbers[np.uintp(i)]


def take(dtype):
    """Those above and `spare` equal ones in order, to OUT and their indices to PLACES, from a."""

    @njit
    def take(job, x, first, n, key, spare, a, b, c, scratch):
        size, rule, t = size_of(dtype), rule_at(at(job, RULE)), np.uint64(key)
        out, places = at(job, OUT) + a * size, at(job, PLACES)
        staged, (low, is_partly) = scratch + ROOM * size, _lowest(dtype, t, spare, n)
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
            _write(job, out, scratch, number * size)
            _write_places(places + 8 * a, staged, number, first + start)
            out, a = out + number * size, a + number
        return 0

    return take


@njit(forceinline=True)
def _pack_either(is_places, stage, entries, place, mask):
    return pack_places(stage, place, mask) if is_places else pack(stage, entries, mask)


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
            before, same, behind, end = 0, 0, 0, min(n, start + STAGE)
            whole = end - (end - start) % WORD
            for i in range(start, whole, WORD):
                fetch_ahead(dtype, x + i * size, AHEAD)
                entries = load(dtype, x + i * size)
                keys = keys_of(entries, rule)
                larger, smaller = above(keys, t), below(keys, t)
                more = _pack_either(is_places, one + before * width, entries, i - start, larger)
                less = _pack_either(is_places, three + behind * width, entries, i - start, smaller)
                if more + less < WORD:
                    ties = ~(larger | smaller)
                    same += _pack_either(is_places, two + same * width, entries, i - start, ties)
                before, behind = before + more, behind + less
            if whole < end:
                entries, some = load_part(dtype, x + whole * size, end - whole), up_to(end - whole)
                keys, place = keys_of(entries, rule), whole - start
                larger, smaller = above(keys, t) & some, below(keys, t) & some
                before += _pack_either(is_places, one + before * width, entries, place, larger)
                behind += _pack_either(is_places, three + behind * width, entries, place, smaller)
                ties = some & ~(larger | smaller)
                same += _pack_either(is_places, two + same * width, entries, place, ties)
            if is_places:
                _write_places(out + 8 * a, one, before, first + start)
                _write_places(out + 8 * b, two, same, first + start)
                _write_places(out + 8 * c, three, behind, first + start)
            else:
                _write(job, out + a * size, one, before * size)
                _write(job, out + b * size, two, same * size)
                _write(job, out + c * size, three, behind * size)
            a, b, c = a + before, b + same, c + behind
        return 0

    return split


def keep(dtype, what):
    """A "mask", or the "entries" and 0 for the rest: kept are those above and `spare` equal."""
    is_mask = what == "mask"

    @njit
    def keep(job, x, first, n, key, spare, a, b, c, scratch):
        size, rule, t = size_of(dtype), rule_at(at(job, RULE)), np.uint64(key)
        width, nans = 1 if is_mask else size, 0
        low, is_partly = _lowest(dtype, t, spare, n)
        for start in range(0, n, STAGE):
            end, target = min(n, start + STAGE), at(job, OUT) + (a + first + start) * width
            if at(job, NAN_TOO):
                nans += count_nan(dtype, x + start * size, end - start, rule)
            out = scratch if at(job, STREAMS) else target
            whole = start if is_partly else end - (end - start) % WORD
            for i in range(start, whole, WORD):
                fetch_ahead(dtype, x + i * size, AHEAD)
                entries = load(dtype, x + i * size)
                mask = within(keys_of(entries, rule), low, ALL)
                _store_kept(is_mask, out + (i - start) * width, entries, mask, WORD)
            for i in range(whole, end, WORD):
                entries, some = load_part(dtype, x + i * size, end - i), up_to(end - i)
                if is_partly:
                    mask, spare = _chosen(keys_of(entries, rule), t, spare, some)
                else:
                    mask = within(keys_of(entries, rule), low, ALL)
                _store_kept(is_mask, out + (i - start) * width, entries, mask, end - i)
            if at(job, STREAMS):
                stream(target, scratch, (end - start) * width)
        return nans

    return keep


@njit(forceinline=True)
def _store_kept(is_mask, out, entries, mask, number):
    if is_mask:
        store(out, bytes_of(mask), number)
    else:
        store(out, choose(entries, mask), number)
