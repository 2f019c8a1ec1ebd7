"""Top-k, partitions and order statistics by selection, in rows of (rows, n).

What is below is found by "descending" keys, of which the largest belong to the smallest entries:
NaN come last.
"""

from itertools import pairwise

import numpy as np

from . import _keys
from ._parallel import workers
from ._select_ranks import select_ranks
from ._select_rows import plan, select


def top_k(x, k, largest, sorted):
    """The k largest or smallest entries of each row and their indices; in index order unsorted."""
    rows, n = x.shape
    bits = _keys.as_bits(x)
    values, indices = np.empty((rows, k), bits.dtype), np.empty((rows, k), np.int64)
    if rows and k:
        order, operation = ("descending", "ascending")[largest], ("take", "take sorted")[sorted]
        job = plan(x.dtype, order, "low", operation)
        select(workers(), job, bits, rows, n, k, k, values, indices, False)
    return values.view(x.dtype), indices


def partition(x, kth):
    """Each row with the entries that sorting would put at the ascending places `kth` there."""
    out = np.empty(x.shape, _keys.UNSIGNED[x.dtype.itemsize])
    _partition(x, kth[0], out, "entries")
    for i, j in pairwise(kth):
        tail = out[:, i + 1 :]
        part = np.empty(tail.shape, out.dtype)
        _partition(tail.view(x.dtype), j - i - 1, part, "entries")
        tail[...] = part
    return out.view(x.dtype)


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
    select(workers(), job, _keys.as_bits(x), rows, n, kth + 1, n, out, out, False)


def order_statistics(x, ranks):
    """The entry of each row at each rank, 0 the smallest, and how many entries are NaN.

    ranks : int64, (rows or 1, any number)
    """
    rows, n = x.shape
    bits = _keys.as_bits(x)
    out, nans = np.empty((rows, ranks.shape[1]), bits.dtype), np.empty(rows, np.int64)
    job = plan(x.dtype, "descending", "low", "ranks")
    select_ranks(workers(), job, bits, rows, n, ranks, len(ranks) > 1, out, nans)
    return out.view(x.dtype), nans
