"""The k-th largest key of a long row, which threads share: one pass over memory almost surely.

A sample tells between which keys it lies, and the pass packs the keys between them: about
n ** (2 / 3) sampled leave 2 to 5 % of n. The keys of the sample that are the bounds are left out,
so that a value that fills half the row is not packed; those are counted if the k-th is not between.
"""

from math import ceil, floor, sqrt

import numpy as np

from .._jit import njit
from ._native import alive, array_at, at, call, run_blocks, set_at
from ._select_jobs import (
    BOUND_CODE,
    COUNT_CODE,
    FINISH_CODE,
    NARROW_CODE,
    PLAN,
    RULE,
    SIZE,
)
from ._select_kth import (
    AHEAD,
    ALL,
    ONE,
    collect,
    count_keys,
    count_nan,
    kth,
    own_rule,
    rule_at,
)
from ._select_lanes import WORD, size_of
from ._stream import copy

LONG = 131072  # entries from which on threads share a row
CHUNKS, _CHUNK = 128, 32768
_STRETCH = 4096  # entries that are still in the first cache when NaN among them are counted
_SLACK = 4.5  # standard deviations of a rank in the sample
_ATTEMPTS = 3  # the second with four times the slack, the last without bounds

# The job of `find`, after a plan: the row, whether to count NaN; what was found: the key, how many
# are larger, how many equal, the largest below, NaN; and what is in between.
(
    X, N, K, NAN_TOO, KEY, LARGER, EQUAL, NEXT, NANS,
    TABLE, LOW, HIGH, TRY, DRAWN, SPREAD, BUFFER, PACKED, FIELDS,
) = range(PLAN, PLAN + 18)  # fmt: skip
# What the table holds of each chunk: how many keys are larger, how many equal (at first: packed),
# the largest below, NaN, where keys are packed, and how many there is room for.
IN_LARGER, IN_EQUAL, IN_NEXT, IN_NANS, IN_PLACE, IN_ROOM, COLUMNS = range(7)


@njit(forceinline=True)
def chunks_of(n):
    """In how many chunks a row is cut."""
    return max(1, min(CHUNKS, n // _CHUNK))


@njit(forceinline=True)
def chunk(c, n):
    """Where chunk c begins and ends."""
    chunks = chunks_of(n)
    return c * n // chunks, (c + 1) * n // chunks


@njit(forceinline=True)
def _cell(job, column, c):
    return at(job, TABLE) + 8 * (column * CHUNKS + c)


def bound(dtype):
    """bound(job): find LOW and HIGH, the keys to pack; LOW is the higher if there are none."""

    @njit
    def bound(job):
        size, rule, x = size_of(dtype), rule_at(at(job, RULE)), array_at(at(job, X), dtype)
        n, m, attempt = at(job, N), at(job, DRAWN), at(job, TRY)
        low, high, spread = np.uint64(0), ALL, m
        if attempt < _ATTEMPTS - 1:
            sample = at(job, BUFFER)
            memory = sample + m * size
            drawn = array_at(sample, dtype)
            for i in range(m):
                # Evenly spread and with no period that data could have (Weyl).
                share = (i + attempt) * 0.6180339887498949
                drawn[np.uintp(i)] = x[np.uintp((share - floor(share)) * n)]
            share = at(job, K) / n
            slack = _SLACK * 4**attempt * sqrt(m * share * (1 - share)) + 2
            first, last = floor(m * share - slack), ceil(m * share + slack)
            if first >= 1:
                high = kth(dtype, sample, m, rule, first, memory)[0] - ONE
            if last <= m:
                low = kth(dtype, sample, m, rule, last, memory)[0] + ONE
            spread = min(m, last - first)
        set_at(job, LOW, low)
        set_at(job, HIGH, high)
        set_at(job, SPREAD, spread)
        return 0

    return bound


def narrow(dtype):
    """A block: pack the keys in LOW..HIGH of a chunk, unless that is done, and count."""

    @njit
    def narrow(b, job, scratch):
        if at(_cell(job, IN_EQUAL, b), 0) >= 0:
            return 0
        start, end = chunk(b, at(job, N))
        x, rule = at(job, X) + start * size_of(dtype), rule_at(at(job, RULE))
        low, high = np.uint64(at(job, LOW)), np.uint64(at(job, HIGH))
        out, room = at(_cell(job, IN_PLACE, b), 0), at(_cell(job, IN_ROOM, b), 0)
        larger, inside, nans, size = 0, 0, 0, size_of(dtype)
        for i in range(0, end - start, _STRETCH):
            part, n, used = x + i * size, min(_STRETCH, end - start - i), min(inside, room)
            place = out + used * size
            found = collect(dtype, part, n, rule, low, high, place, room - used, AHEAD)
            larger, inside = larger + found[0], inside + found[1]
            if at(job, NAN_TOO):
                nans += count_nan(dtype, part, n, rule)
        set_at(_cell(job, IN_LARGER, b), 0, larger)
        set_at(_cell(job, IN_EQUAL, b), 0, inside)
        set_at(_cell(job, IN_NANS, b), 0, nans)
        return 0

    return narrow


def count(dtype):
    """A block: count the keys of a chunk that are larger than KEY, and equal."""

    @njit
    def count(b, job, scratch):
        start, end = chunk(b, at(job, N))
        x, rule = at(job, X) + start * size_of(dtype), rule_at(at(job, RULE))
        larger, same, below = count_keys(dtype, x, end - start, rule, np.uint64(at(job, KEY)))
        set_at(_cell(job, IN_LARGER, b), 0, larger)
        set_at(_cell(job, IN_EQUAL, b), 0, same)
        set_at(_cell(job, IN_NEXT, b), 0, below)
        nans = count_nan(dtype, x, end - start, rule) if at(job, NAN_TOO) else 0
        set_at(_cell(job, IN_NANS, b), 0, nans)
        return 0

    return count


def finish(dtype):
    """finish(job): select among the packed keys, and count for each chunk what KEY says."""

    @njit
    def finish(job):
        size, chunks, total = size_of(dtype), chunks_of(at(job, N)), at(job, PACKED)
        packed = at(job, BUFFER)
        end = packed
        for c in range(chunks):
            length = at(_cell(job, IN_EQUAL, c), 0) * size
            copy(end, at(_cell(job, IN_PLACE, c), 0), length)
            end += length
        k = at(job, K) - at(job, LARGER)
        key, larger, same = kth(dtype, packed, total, own_rule(), k, end)
        for c in range(chunks):
            place, length = at(_cell(job, IN_PLACE, c), 0), at(_cell(job, IN_EQUAL, c), 0)
            more, alike, below = 0, 0, np.uint64(0)
            if length > 0:
                more, alike, below = count_keys(dtype, place, length, own_rule(), key)
            set_at(_cell(job, IN_LARGER, c), 0, at(_cell(job, IN_LARGER, c), 0) + more)
            set_at(_cell(job, IN_EQUAL, c), 0, alike)
            set_at(_cell(job, IN_NEXT, c), 0, below)
        set_at(job, KEY, key)
        set_at(job, LARGER, at(job, LARGER) + larger)
        set_at(job, EQUAL, same)
        return 0

    return finish


@njit
def _sum_up(job, table, chunks):
    job[LARGER] = job[EQUAL] = nans = 0
    for c in range(chunks):
        job[LARGER] += table[IN_LARGER, c]
        job[EQUAL] += table[IN_EQUAL, c]
        nans += table[IN_NANS, c]
    if job[NAN_TOO]:
        job[NANS] = nans


@njit
def count_against(pool, job, table, key):
    """Count for each chunk and in all what is larger than `key`, equal, and the largest below."""
    chunks = chunks_of(job[N])
    job[KEY], job[TABLE] = key, table.ctypes.data
    run_blocks(pool, job[COUNT_CODE], chunks, job, 0, job[N] // 4)
    _sum_up(job, table, chunks)
    job[NEXT] = _next(table, chunks)


@njit
def _next(table, chunks):
    """The largest of the keys below, which are unsigned."""
    largest = np.uint64(0)
    for c in range(chunks):
        largest = max(largest, np.uint64(table[IN_NEXT, c]))
    return np.int64(largest)


@njit
def _pack(pool, job, table, chunks):
    """Pack what is in LOW..HIGH; the memory it is in."""
    n, size = job[N], job[SIZE]
    room = n // chunks + 1
    if job[SPREAD] < job[DRAWN]:
        room = min(room, room * job[SPREAD] // job[DRAWN] * 5 // 4 + 4 * WORD)
    memory = np.empty(chunks * (room + WORD) * size, np.uint8)
    for c in range(chunks):
        table[IN_EQUAL, c], table[IN_ROOM, c] = -1, room
        table[IN_PLACE, c] = memory.ctypes.data + c * (room + WORD) * size
    run_blocks(pool, job[NARROW_CODE], chunks, job, 0, n // 4)
    # Again where there was no room, as if the row is sorted.
    more = 0
    for c in range(chunks):
        if table[IN_EQUAL, c] > room:
            more += table[IN_EQUAL, c] + WORD
    rest = np.empty(more * size, np.uint8)
    place = np.int64(rest.ctypes.data)
    for c in range(chunks):
        if table[IN_EQUAL, c] > room:
            table[IN_PLACE, c], table[IN_ROOM, c] = place, table[IN_EQUAL, c]
            place += (table[IN_EQUAL, c] + WORD) * size
            table[IN_EQUAL, c] = -1
    if more:
        run_blocks(pool, job[NARROW_CODE], chunks, job, 0, n // 4)
    return memory, rest


@njit
def find(pool, job, table):
    """Find the K-th largest key of the row: KEY, LARGER, EQUAL, NEXT, NANS, and of each chunk."""
    n, k, size = job[N], job[K], job[SIZE]
    chunks = chunks_of(n)
    job[TABLE] = table.ctypes.data
    job[DRAWN] = max(1024, min(65536, np.int64(n ** (2 / 3) / 2)))
    for attempt in range(_ATTEMPTS):
        job[TRY] = attempt
        memory = np.empty((3 * job[DRAWN] + 3 * WORD) * size, np.uint8)
        job[BUFFER] = memory.ctypes.data
        call(job[BOUND_CODE], (job.ctypes.data,))
        low, high = job[LOW], job[HIGH]
        if np.uint64(low) <= np.uint64(high):
            memory, rest = _pack(pool, job, table, chunks)
            _sum_up(job, table, chunks)
            larger, inside = job[LARGER], job[EQUAL]
            if larger < k <= larger + inside:
                work = np.empty((3 * inside + 3 * WORD) * size, np.uint8)
                job[BUFFER], job[PACKED] = work.ctypes.data, inside
                call(job[FINISH_CODE], (job.ctypes.data,))
                job[NEXT] = _next(table, chunks)
                is_last = job[LARGER] + job[EQUAL] == larger + inside
                alive((rest, work, memory))
                if is_last and job[LARGER] + job[EQUAL] < n:
                    count_against(pool, job, table, job[KEY])
                return
            count_against(pool, job, table, high + 1 if k <= larger else low - 1)
        else:
            count_against(pool, job, table, high + 1)
            if k > job[LARGER] + job[EQUAL]:
                count_against(pool, job, table, low - 1)
        alive(memory)
        if job[LARGER] < k <= job[LARGER] + job[EQUAL]:
            return


@njit
def job_of(plan, x, n, nan_too):
    """The job of `find` for a row at an address; the plan may be the beginning of another job."""
    job = np.empty(FIELDS, np.int64)
    for i in range(PLAN):
        job[i] = plan[i]
    job[X], job[N], job[NAN_TOO] = x, n, nan_too
    return job
