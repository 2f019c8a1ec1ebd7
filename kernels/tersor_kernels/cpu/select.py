"""Top-k, partitions and order statistics by selection, in the rows of arrays (..., n).

What is below is found by "descending" keys, of which the largest belong to the smallest entries:
NaN come last.
"""

from itertools import pairwise
from math import prod

import numpy as np

from ._parallel import workers
from ._select_gather import is_contiguous, parts
from ._select_plan import plan, way_of
from ._select_ranks import ranks_of_long, ranks_of_short
from ._select_rows import select_long, select_short


def top_k(x, k, largest, sorted):
    """The k largest or smallest entries of each row and their indices; in index order unsorted."""
    shape, n = (*x.shape[:-1], k), x.shape[-1]
    values, indices = np.empty(shape, x.dtype), np.empty(shape, np.int64)
    if values.size:
        order, operation = ("descending", "ascending")[largest], ("take", "take sorted")[sorted]
        rows = values.size // k
        way = way_of(rows, n)
        job = plan(x.dtype, order, "low", operation, way)
        select = select_long if way == "long" else select_short
        if is_contiguous(x):
            args = id(x), rows, n, k, k, id(values), id(indices), 0
            select(workers(), job, *args)
            return values, indices
        for part, at in parts(x):
            out = values[at], indices[at]
            rows = part.size // n
            select(workers(), job, id(part), rows, n, k, k, id(out[0]), id(out[1]), 0)
    return values, indices


def partition(x, kth):
    """Each row with the entries that sorting would put at the ascending places `kth` there."""
    out = np.empty(x.shape, x.dtype)
    _partition(x, kth[0], out, "entries")
    for i, j in pairwise(kth):
        tail = out[..., i + 1 :]
        part = np.empty(tail.shape, x.dtype)
        _partition(tail, j - i - 1, part, "entries")
        tail[...] = part
    return out


def argpartition(x, kth):
    """The indices of `partition`; equal entries keep their order."""
    out = np.empty(x.shape, np.int64)
    _partition(x, kth[0], out, "places")
    for i, j in pairwise(kth):
        tail = out[..., i + 1 :]
        part = np.empty(tail.shape, np.int64)
        _partition(np.take_along_axis(x, tail, axis=-1), j - i - 1, part, "places")
        tail[...] = np.take_along_axis(tail, part, axis=-1)
    return out


def _partition(x, kth, out, operation):
    """Write the entries, or indices, before those at `kth`, these, and those behind them."""
    n = x.shape[-1]
    way = way_of(x.size // n, n)
    job = plan(x.dtype, "descending", "low", operation, way)
    select = select_long if way == "long" else select_short
    for part, at in parts(x):
        to = out[at]
        select(workers(), job, id(part), part.size // n, n, kth + 1, n, id(to), id(to), 0)


def order_statistics(x, ranks):
    """The entry of each row at each rank, 0 the smallest, and how many entries are NaN.

    ranks : int64, (rows or 1, any number), where rows are counted through
    """
    shape, n = x.shape[:-1], x.shape[-1]
    each, number = ranks.shape
    is_each = each > 1
    out, nans = np.empty((*shape, number), x.dtype), np.empty(shape, np.int64)
    rows = prod(shape)
    way = way_of(rows, n)
    job = plan(x.dtype, "descending", "low", "ranks", way)
    select = ranks_of_long if way == "long" else ranks_of_short
    if is_contiguous(x) and is_contiguous(ranks):
        args = id(ranks), number, int(is_each), id(out), id(nans)
        select(workers(), job, id(x), rows, n, *args)
        return out.reshape(rows, number), nans.reshape(rows)
    ranks = np.ascontiguousarray(ranks, np.int64).reshape((*shape, number) if is_each else -1)
    for part, at in parts(x):
        mine, to, missing = ranks[at] if is_each else ranks, out[at], nans[at]
        args = id(mine), number, int(is_each), id(to), id(missing)
        select(workers(), job, id(part), part.size // n, n, *args)
    return out.reshape(rows, number), nans.reshape(rows)
