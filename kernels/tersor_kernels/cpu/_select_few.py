"""Many rows of a few entries, several of which fit one SIMD value: all pairs of a row are compared.

A row takes `group` lanes, a power of two, of which the last may be spare; they come last. Each lane
is compared with the next one of its group, the one after that, and so on, which gives its rank.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .._jit import njit
from . import _select_jobs as jobs
from ._native import array_at, at
from ._select_kth import AHEAD, ALL, entry_of, fetch_ahead, rule_at
from ._select_lanes import (
    MASK,
    WORD,
    Lanes,
    as_mask,
    below,
    bits_of,
    bytes_of,
    choose,
    equal,
    how_many,
    keys_of,
    load_part,
    mask_of,
    nans_of,
    size_of,
    store,
)
from ._select_pack import pack
from ._stream import copy


def _first_bits(group):
    """A word with the first bit of each group set."""
    return np.uint64((2**WORD - 1) // (2**group - 1))


@njit(forceinline=True)
def _used(first_bits, group, n, number):
    """The lanes that hold the entries of so many rows."""
    return first_bits * np.uint64((1 << n) - 1) & ALL >> np.uint64(WORD - number * group)


@njit(forceinline=True)
def _load_rows(dtype, x, n, number, group, scratch):
    """So many rows of n entries, each in a group of its own."""
    size = size_of(dtype)
    fetch_ahead(dtype, x, AHEAD)
    if n == group:
        return load_part(dtype, x, number * n)
    for row in range(number):
        copy(scratch + row * group * size, x + row * n * size, n * size)
    return load_part(dtype, scratch, WORD)


@njit(forceinline=True)
def _store_rows(dtype, out, lanes, n, number, group, scratch):
    size = size_of(dtype)
    if n == group:
        store(out, lanes, number * n)
    else:
        store(scratch, lanes, WORD)
        for row in range(number):
            copy(out + row * n * size, scratch + row * group * size, n * size)


def keep(dtype, what, group):
    """A block: which k entries of each row are kept, a "mask", or the "kept" ones and 0."""
    is_mask, target = what == "mask", np.dtype(np.uint8) if what == "mask" else dtype
    first_bits = _first_bits(group)

    @njit
    def keep(b, job, scratch):
        size, rule, nans = size_of(dtype), rule_at(at(job, jobs.RULE)), 0
        n, k, step = at(job, jobs.N), at(job, jobs.K), at(job, jobs.STEP)
        end = min(at(job, jobs.ROWS), (b + 1) * step)
        for row in range(b * step, end, WORD // group):
            number = min(end - row, WORD // group)
            entries = _load_rows(dtype, at(job, jobs.X) + row * n * size, n, number, group, scratch)
            used = mask_of(_used(first_bits, group, n, number))
            if at(job, jobs.NAN_TOO):
                nans += how_many(nans_of(entries, rule) & used)
            ranks = _ranks(choose(keys_of(entries, rule), used), group)
            mask = below(ranks, np.uint64(k))
            if is_mask:
                out = at(job, jobs.OUT) + row * n
                _store_rows(target, out, bytes_of(mask), n, number, group, scratch)
            else:
                out = at(job, jobs.OUT) + row * n * size
                _store_rows(target, out, choose(entries, mask), n, number, group, scratch)
        array_at(at(job, jobs.NANS), np.int64)[np.uintp(b)] = nans
        return 0

    return keep


def take(dtype, what, group):
    """A block: the k entries with the largest keys of each row, and their indices."""
    is_sorted, first_bits = what == "take sorted", _first_bits(group)

    @njit
    def take(b, job, scratch):
        size, rule = size_of(dtype), rule_at(at(job, jobs.RULE))
        n, k, step = at(job, jobs.N), at(job, jobs.K), at(job, jobs.STEP)
        values = array_at(at(job, jobs.OUT), dtype)
        places = array_at(at(job, jobs.PLACES), np.int64)
        staged, numbers = array_at(scratch, dtype), scratch + WORD * size
        end = min(at(job, jobs.ROWS), (b + 1) * step)
        for row in range(b * step, end, WORD // group):
            number = min(end - row, WORD // group)
            entries = _load_rows(dtype, at(job, jobs.X) + row * n * size, n, number, group, scratch)
            used = mask_of(_used(first_bits, group, n, number))
            ranks = _ranks(choose(keys_of(entries, rule), used), group)
            if is_sorted:
                store(scratch, entries, WORD)
                store(numbers, ranks, WORD)
                for r in range(number):
                    for i in range(n):
                        j = np.uintp(r * group + i)
                        rank = np.int64(array_at(numbers, dtype)[j])
                        if rank < k:
                            values[np.uintp((row + r) * k + rank)] = staged[j]
                            places[np.uintp((row + r) * k + rank)] = i
            else:
                mask = below(ranks, np.uint64(k)) & used
                pack(scratch, entries, mask)
                pack(numbers, _lane_numbers(group), mask)
                copy(at(job, jobs.OUT) + row * k * size, scratch, number * k * size)
                indices = array_at(numbers, np.uint8)
                for i in range(number * k):
                    places[np.uintp(row * k + i)] = indices[np.uintp(i)]
        array_at(at(job, jobs.NANS), np.int64)[np.uintp(b)] = 0
        return 0

    return take


def split(dtype, what, group):
    """A block: the "entries" of each row, or their "places", before its k-th, equal, and behind."""
    is_places, first_bits = what == "places", _first_bits(group)

    @njit
    def split(b, job, scratch):
        size, rule = size_of(dtype), rule_at(at(job, jobs.RULE))
        n, k, step = at(job, jobs.N), at(job, jobs.K), at(job, jobs.STEP)
        staged = array_at(scratch, dtype)
        out, places = array_at(at(job, jobs.OUT), dtype), array_at(at(job, jobs.OUT), np.int64)
        end = min(at(job, jobs.ROWS), (b + 1) * step)
        for row in range(b * step, end, WORD // group):
            number = min(end - row, WORD // group)
            entries = _load_rows(dtype, at(job, jobs.X) + row * n * size, n, number, group, scratch)
            used = mask_of(_used(first_bits, group, n, number))
            keys = choose(keys_of(entries, rule), used)
            ranks = _ranks(keys, group)
            kth = _spread(choose(keys, equal(ranks, np.uint64(k - 1))), group)
            before, same = bits_of(_above_lanes(keys, kth) & used), _above_lanes(kth, keys)
            behind = bits_of(same & used)
            parts = (before, bits_of(used) & ~(before | behind), behind)
            store(scratch, entries, WORD)
            to = row * n
            for r in range(number):
                for part in parts:
                    word = part >> np.uint64(r * group) & np.uint64((1 << group) - 1)
                    while word != 0:
                        i = _lowest(word)
                        if is_places:
                            places[np.uintp(to)] = i
                        else:
                            out[np.uintp(to)] = staged[np.uintp(r * group + i)]
                        word &= word - np.uint64(1)
                        to += 1
        array_at(at(job, jobs.NANS), np.int64)[np.uintp(b)] = 0
        return 0

    return split


def ranks(dtype, what, group):
    """A block: the entries of each row at the ranks of a ranks job."""
    first_bits = _first_bits(group)

    @njit
    def ranks(b, job, scratch):
        size, rule = size_of(dtype), rule_at(at(job, jobs.RULE))
        n, count, step = at(job, jobs.N), at(job, jobs.COUNT), at(job, jobs.STEP)
        out, nans = array_at(at(job, jobs.OUT), dtype), array_at(at(job, jobs.NANS), np.int64)
        packed, is_each = array_at(scratch, dtype), at(job, jobs.EACH)
        end = min(at(job, jobs.ROWS), (b + 1) * step)
        for row in range(b * step, end, WORD // group):
            number = min(end - row, WORD // group)
            entries = _load_rows(dtype, at(job, jobs.X) + row * n * size, n, number, group, scratch)
            used = mask_of(_used(first_bits, group, n, number))
            keys = choose(keys_of(entries, rule), used)
            ranks, missing = _ranks(keys, group), bits_of(nans_of(entries, rule) & used)
            for j in range(count):
                if is_each:
                    for r in range(number):
                        rank = at(at(job, jobs.RANKS), (row + r) * count + j)
                        mine = mask_of(_used(first_bits, group, n, 1) << np.uint64(r * group))
                        pack(scratch + r * size, keys, equal(ranks, np.uint64(rank)) & mine)
                else:
                    pack(scratch, keys, equal(ranks, np.uint64(at(at(job, jobs.RANKS), j))) & used)
                for r in range(number):
                    key = np.uint64(packed[np.uintp(r)])
                    out[np.uintp((row + r) * count + j)] = entry_of(key, rule, size)
            for r in range(number):
                mine = missing >> np.uint64(r * group) & np.uint64((1 << group) - 1)
                nans[np.uintp(row + r)] = how_many(mask_of(mine))
        return 0

    return ranks


@intrinsic(prefer_literal=True)
def _ranks(typingctx, keys, group):
    """How many entries of its group come before each: larger, or equal and earlier."""
    size = group.literal_value

    def codegen(context, builder, sig, args):
        kind = args[0].type
        ranks = ir.Constant(kind, None)
        for distance in range(1, size):
            others, other = _rotated(builder, args[0], size, distance)
            earlier = [j < i for i, j in enumerate(others)]
            is_earlier = ir.Constant(ir.VectorType(ir.IntType(1), WORD), earlier)
            tie = builder.and_(builder.icmp_unsigned("==", other, args[0]), is_earlier)
            before = builder.or_(builder.icmp_unsigned(">", other, args[0]), tie)
            ranks = builder.sub(ranks, builder.sext(before, kind))
        return ranks

    return keys(keys, group), codegen


def _rotated(builder, lanes, size, distance):
    """For each lane, which is so many later in its group, going round; and what it holds."""
    others = [i - i % size + (i + distance) % size for i in range(WORD)]
    order = ir.Constant(ir.VectorType(ir.IntType(32), WORD), others)
    return others, builder.shuffle_vector(lanes, lanes, order)


@intrinsic(prefer_literal=True)
def _spread(typingctx, lanes, group):
    """The one entry of a group that is not 0, or 0, in all of its lanes."""
    size = group.literal_value

    def codegen(context, builder, sig, args):
        spread, distance = args[0], 1
        while distance < size:
            spread = builder.or_(spread, _rotated(builder, spread, size, distance)[1])
            distance *= 2
        return spread

    return lanes(lanes, group), codegen


@intrinsic
def _above_lanes(typingctx, keys, others):
    """Which keys are larger than the other's."""

    def codegen(context, builder, sig, args):
        return as_mask(builder, builder.icmp_unsigned(">", *args))

    return MASK(keys, others), codegen


@intrinsic(prefer_literal=True)
def _lane_numbers(typingctx, group):
    """The number of each lane in its group, as bytes."""
    lanes, size = Lanes(types.uint8), group.literal_value

    def codegen(context, builder, sig, args):
        return ir.Constant(context.get_value_type(lanes), [i % size for i in range(WORD)])

    return lanes(group), codegen


@intrinsic
def _lowest(typingctx, word):
    """The number of the lowest bit that is set."""

    def codegen(context, builder, sig, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), codegen
