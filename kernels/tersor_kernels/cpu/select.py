"""Top-k, partitions and order statistics by selection, in rows of (rows, n).

What is below is found by "descending" keys, of which the largest belong to the smallest entries:
NaN come last.
"""

from itertools import pairwise

import numpy as np

from ._keys import contiguous
from ._parallel import workers
from ._select_ranks import select_ranks
from ._select_rows import plan, select


def top_k(x, k, largest, sorted):
    """The k largest or smallest entries of each row and their indices; in index order unsorted."""
    rows, n = x.shape
    x = contiguous(x)
    values, indices = np.empty((rows, k), x.dtype), np.empty((rows, k), np.int64)
    if rows and k:
        order, operation = ("descending", "ascending")[largest], ("take", "take sorted")[sorted]
        job = plan(x.dtype, order, "low", operation)
        select(workers(), job, id(x), rows, n, k, k, id(values), id(indices), False)
    return values, indices


def partition(x, kth):
    """Each row with the entries that sorting would put at the ascending places `kth` there."""
    out = np.empty(x.shape, x.dtype)
    _partition(x, kth[0], out, "entries")
    for i, j in pairwise(kth):
        tail = out[:, i + 1 :]
        part = np.empty(tail.shape, x.dtype)
        _partition(tail, j - i - 1, part, "entries")
        tail[...] = part
    return out


def argpartition(x, kth):
    """The indices of `partition`; equal entries keep their order."""
    out = np.empty(x.shape, np.int64)
    _partition(x, kth[0], out, "places")
    for i, j in pairwise(kth):
        tail = out[:, i + 1 :]
        part = np.empty(tail.shape, np.int64)
        _partition(np.take_along_axis(x, tail, axis=1), j - i - 1, part, "places")
        tail[...] = np.take_along_axis(tail, part, axis=1)
    return out


def _partition(x, kth, out, operation):
    """Write the entries, or indices, before those at `kth`, these, and those behind them."""
    rows, n = x.shape
    job = plan(x.dtype, "descending", "low", operation)
    x = contiguous(x)
    select(workers(), job, id(x), rows, n, kth + 1, n, id(out), id(out), False)


def order_statistics(x, ranks):
    """The entry of each row at each rank, 0 the smallest, and how many entries are NaN.

    ranks : int64, (rows or 1, any number)
    """
    rows, n = x.shape
    x, ranks = contiguous(x), np.ascontiguousarray(ranks, np.int64)
    each, number = ranks.shape
    out, nans = np.empty((rows, number), x.dtype), np.empty(rows, np.int64)
    job = plan(x.dtype, "descending", "low", "ranks")
    is_each = each > 1
    arrays = id(x), rows, n, id(ranks), number, is_each, id(out), id(nans)
    select_ranks(workers(), job, *arrays)
    return out, nans
