"""Selection in rows: find the k-th largest key of each, then write what follows from it."""

import numpy as np

from .._jit import njit
from . import _select_emit, _select_sort
from . import _select_find as f
from ._common import BLOCK
from ._native import alive, array_at, at, call, data_of, run_blocks
from ._select_jobs import (
    CHUNK_CODE,
    EMIT_CODE,
    FIELDS,
    IN_PLACE,
    KIND,
    NAN_TOO,
    NANS,
    OUT,
    PLACES,
    PLAN,
    ROWS,
    ROWS_CODE,
    RULE,
    SIZE,
    SORT_CODE,
    SPARE,
    STARTS,
    STEP,
    STREAMS,
    TOGETHER,
    WIDTH,
    A,
    B,
    C,
    K,
    N,
    X,
)
from ._select_kth import kth, rule_at
from ._select_lanes import WORD, size_of


def rows(dtype):
    """A block of short rows."""

    @njit
    def rows(b, job, scratch):
        size, rule, nans = size_of(dtype), rule_at(at(job, RULE)), 0
        n, k, width, step = at(job, N), at(job, K), at(job, WIDTH), at(job, STEP)
        for r in range(b * step, min(at(job, ROWS), (b + 1) * step)):
            x, a = at(job, X) + r * n * size, r * width
            key, larger, same = kth(dtype, x, n, rule, k, scratch)
            starts = (a, a + larger, a + larger + same)
            spare = n if k - larger == same else k - larger
            args = (job, x, 0, n, np.int64(key), spare, *starts, scratch)
            nans += call(at(job, EMIT_CODE), args)
            if at(job, SORT_CODE) != 0:
                out, places = at(job, OUT) + a * size, at(job, PLACES) + 8 * a
                call(at(job, SORT_CODE), (job, out, places, k, scratch))
        array_at(at(job, NANS), np.int64)[np.uintp(b)] = nans
        return 0

    return rows


@njit
def write_chunk(b, job, scratch):
    """A block: a chunk of a long row."""
    start, end = f.chunk(b, at(job, N))
    starts, x = at(job, STARTS) + 32 * b, at(job, X) + start * at(job, SIZE)
    places = (at(starts, A), at(starts, B), at(starts, C))
    args = (job, x, start, end - start, at(job, K), at(starts, SPARE), *places, scratch)
    array_at(at(job, NANS), np.int64)[np.uintp(b)] = call(at(job, EMIT_CODE), args)
    return 0


STRICTLY = 2  # count NaN, and write nothing if there are
_STREAMED = 2**24  # bytes of results, more than caches should be filled with


@njit
def select_short(pool, plan, x, rows, n, k, width, out, places, nan_too):
    """Run a plan on short rows of `x`; how many entries are NaN, if they are counted.

    x, out, places : contiguous arrays, given by their id(). The results of row r, of which those
    above its k-th largest come first, start at r * width.
    """
    job = _job_of(plan, x, rows, n, k, width, out, places)
    size, sorting = job[SIZE], 0
    if job[SORT_CODE] != 0:
        sorting = _select_sort.scratch_of_sort(k, size)
    job[STEP] = max(1, BLOCK // n)
    nans = np.empty(-(-rows // job[STEP]), np.int64)
    job[NANS], job[NAN_TOO] = nans.ctypes.data, nan_too
    scratch = max((2 * n + 3 * WORD) * size, _select_emit.scratch_of_stages(size), sorting)
    run_blocks(pool, job[ROWS_CODE], nans.size, job, scratch, rows * (n + 200))
    return _total(nans)


@njit
def select_long(pool, plan, x, rows, n, k, width, out, places, nan_too):
    """The same of long rows. If `nan_too` is 2, nothing is written from the first with NaN on."""
    job = _job_of(plan, x, rows, n, k, width, out, places)
    total, size = 0, job[SIZE]
    row = f.job_of(job, job[X], n, nan_too)
    row[f.K] = k
    table = np.empty((f.COLUMNS, f.CHUNKS), np.int64)
    for r in range(rows):
        f.find(pool, row, table)
        if nan_too:
            total += row[f.NANS]
            if nan_too == STRICTLY and row[f.NANS]:
                return total
        job[K] = row[f.KEY]
        _in_chunks(pool, job, _starts(job[KIND], row, table, r * width))
        if job[SORT_CODE] != 0:
            scratch = np.empty(_select_sort.scratch_of_sort(k, size), np.uint8)
            to, indices = job[OUT] + r * k * size, job[PLACES] + 8 * r * k
            call(job[SORT_CODE], (job.ctypes.data, to, indices, k, scratch.ctypes.data))
            alive(scratch)
        job[X] += n * size
        row[f.X] = job[X]
    return total


@njit
def emit_from(pool, plan, x, n, key, out, nan_too):
    """Run the emitter of a plan on one row, of which the keys from `key` on are wanted."""
    job = _job_of(plan, x, 1, n, np.int64(key), n, out, out)
    job[NAN_TOO] = nan_too
    starts = np.empty((f.chunks_of(n), 4), np.int64)
    for i in range(len(starts)):
        starts[i, SPARE] = n
        starts[i, A] = starts[i, B] = starts[i, C] = 0
    return _in_chunks(pool, job, starts)


@njit
def count_nan(pool, plan, x, n):
    """How many of n entries are NaN."""
    job, table = f.job_of(plan, data_of(x), n, True), np.empty((f.COLUMNS, f.CHUNKS), np.int64)
    f.count_against(pool, job, table, 0)
    return job[f.NANS]


@njit
def _job_of(plan, x, rows, n, k, width, out, places):
    job = np.empty(FIELDS, np.int64)
    for i in range(PLAN):
        job[i] = plan[i]
    job[X], job[ROWS], job[N], job[K], job[WIDTH] = data_of(x), rows, n, k, width
    job[OUT], job[PLACES], job[NAN_TOO] = data_of(out), data_of(places), 0
    job[STREAMS] = rows * width * plan[SIZE] > _STREAMED
    return job


@njit
def _total(numbers):
    total = 0
    for number in numbers:
        total += number
    return total


@njit
def _in_chunks(pool, job, starts):
    nans = np.empty(len(starts), np.int64)
    job[NANS], job[STARTS] = nans.ctypes.data, starts.ctypes.data
    scratch = _select_emit.scratch_of_stages(job[SIZE])
    run_blocks(pool, job[CHUNK_CODE], nans.size, job, scratch, job[N] // 2)
    alive(starts)
    return _total(nans)


@njit
def _starts(kind, row, table, a):
    """Where each chunk of a row writes, whose results start at a, and its share of the equal."""
    n, spare = row[f.N], row[f.K] - row[f.LARGER]
    b = a + row[f.LARGER]
    c = b + row[f.EQUAL]
    starts = np.empty((f.chunks_of(n), 4), np.int64)
    for i in range(len(starts)):
        start, end = f.chunk(i, n)
        larger, same = table[f.IN_LARGER, i], table[f.IN_EQUAL, i]
        mine = max(0, min(spare, same))
        length = n if mine == same else mine
        starts[i, SPARE], starts[i, A], starts[i, B], starts[i, C] = length, a, b, c
        spare -= same
        if kind != IN_PLACE:
            a += larger
        if kind == TOGETHER:
            a += mine
        b, c = b + same, c + (end - start - larger - same)
    return starts
