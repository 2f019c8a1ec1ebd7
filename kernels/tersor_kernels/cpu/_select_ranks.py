"""The entries of rows at given ranks, by "descending" keys: the first is the smallest entry."""

import numpy as np

from .._jit import njit
from . import _select_find as f
from ._common import BLOCK
from ._native import array_at, at, data_of, run_blocks, set_at
from ._select_jobs import (
    COUNT,
    EACH,
    FIELDS,
    NANS,
    OUT,
    PLAN,
    RANKS,
    ROWS,
    ROWS_CODE,
    RULE,
    SIZE,
    STEP,
    N,
    X,
)
from ._select_kth import count_keys, count_nan, entry_of, kth, ranks_of, rule_at
from ._select_lanes import WORD, below, keys_of, least, load_part, size_of, store, up_to
from ._select_sort import scratch_of_sort, sort_keys

_SORTED = 8  # ranks from which on a row is sorted


def ranks(dtype):
    """A block of short rows."""

    @njit
    def ranks(b, job, scratch):
        size, rule, n, number = size_of(dtype), rule_at(at(job, RULE)), at(job, N), at(job, COUNT)
        out, nans = array_at(at(job, OUT), dtype), array_at(at(job, NANS), np.int64)
        for r in range(b * at(job, STEP), min(at(job, ROWS), (b + 1) * at(job, STEP))):
            x, wanted = at(job, X) + r * n * size, at(job, RANKS) + at(job, EACH) * r * number * 8
            if n <= WORD:
                _of_word(dtype, x, n, rule, wanted, number, out, r * number, scratch)
            elif number >= _SORTED:
                keys, _ = sort_keys(dtype, x, n, rule, scratch)
                for j in range(number):
                    key = np.uint64(array_at(keys, dtype)[np.uintp(at(wanted, j))])
                    out[np.uintp(r * number + j)] = entry_of(key, rule, size)
            else:
                _of_row(dtype, x, n, rule, wanted, number, out, r * number, scratch)
            nans[np.uintp(r)] = count_nan(dtype, x, n, rule)
        return 0

    return ranks


@njit
def _of_word(dtype, x, n, rule, wanted, number, out, first, scratch):
    """Sorted by counting, once for all ranks."""
    keys, some = keys_of(load_part(dtype, x, n), rule), up_to(n)
    store(scratch, keys, WORD)
    ranks = ranks_of(keys, scratch, dtype, n)
    for j in range(number):
        key = least(keys, below(ranks, np.uint64(at(wanted, j) + 1)) & some)
        out[np.uintp(first + j)] = entry_of(key, rule, size_of(dtype))


@njit
def _of_row(dtype, x, n, rule, wanted, number, out, first, scratch):
    """One by one; the next after one that is known takes a pass, no selection."""
    key, larger, same, is_exact = np.uint64(0), 0, 0, False
    for j in range(number):
        k = at(wanted, j) + 1
        if not larger < k <= larger + same:
            if is_exact and k == larger + same + 1:
                larger, same, is_exact = larger + same, 1, False
                _, _, key = count_keys(dtype, x, n, rule, key)
            else:
                key, larger, same = kth(dtype, x, n, rule, k, scratch)
                is_exact = True
        out[np.uintp(first + j)] = entry_of(key, rule, size_of(dtype))


@njit
def ranks_of_short(pool, plan, x, rows, n, ranks, number, each, out, nans):
    """Write the entries of each row at `number` ranks, and how many are NaN.

    x, ranks, out, nans : contiguous arrays, given by their id()
    each : whether `ranks` are different ones for each row
    """
    job = _job_of(plan, x, rows, n, ranks, number, each, out, nans)
    size = job[SIZE]
    job[STEP] = max(1, BLOCK // n)
    scratch = (2 * n + 3 * WORD) * size
    if number >= _SORTED:
        scratch = max(scratch, scratch_of_sort(n, size))
    run_blocks(pool, job[ROWS_CODE], -(-rows // job[STEP]), job, scratch, rows * number * (n + 200))


@njit
def ranks_of_long(pool, plan, x, rows, n, ranks, number, each, out, nans):
    """The same of long rows."""
    job = _job_of(plan, x, rows, n, ranks, number, each, out, nans)
    size = job[SIZE]
    found = f.job_of(job, job[X], n, True)
    table = np.empty((f.COLUMNS, f.CHUNKS), np.int64)
    for r in range(rows):
        to, wanted = job[OUT] + r * number * size, job[RANKS] + each * r * number * 8
        _of_long_row(pool, found, table, wanted, number, to)
        set_at(job[NANS], r, found[f.NANS])
        found[f.X] += n * size


@njit
def _job_of(plan, x, rows, n, ranks, number, each, out, nans):
    job = np.empty(FIELDS, np.int64)
    for i in range(PLAN):
        job[i] = plan[i]
    job[X], job[ROWS], job[N] = data_of(x), rows, n
    job[OUT], job[NANS] = data_of(out), data_of(nans)
    job[RANKS], job[COUNT], job[EACH] = data_of(ranks), number, each
    return job


@njit
def _of_long_row(pool, job, table, ranks, number, out):
    key, larger, same, following = 0, 0, 0, -1
    rule, size = rule_at(job[RULE]), job[SIZE]
    job[f.NAN_TOO] = True
    for j in range(number):
        k = at(ranks, j) + 1
        if k == following:
            key, larger, same, following = job[f.NEXT], k - 1, 1, -1
        elif not larger < k <= larger + same:
            job[f.K] = k
            f.find(pool, job, table)
            key, larger, same = job[f.KEY], job[f.LARGER], job[f.EQUAL]
            following = larger + same + 1
            job[f.NAN_TOO] = False
        _set_entry(out + j * size, entry_of(np.uint64(key), rule, size), size)


@njit
def _set_entry(address, bits, size):
    if size == 1:
        array_at(address, np.uint8)[0] = bits
    elif size == 2:
        array_at(address, np.uint16)[0] = bits
    elif size == 4:
        array_at(address, np.uint32)[0] = bits
    else:
        array_at(address, np.uint64)[0] = bits
