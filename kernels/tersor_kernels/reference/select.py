"""Top-k, partitions and order statistics by sorting, in the rows of arrays (..., n)."""

import numpy as np


def top_k(x, k, largest, sorted):
    """The k largest or smallest entries of each row and their indices; in index order unsorted."""
    wide = _wide(x)
    if largest:
        # Stable over the reversed row, so reversed again the first of equals leads; NaN do too.
        n = x.shape[-1]
        order = n - 1 - np.argsort(wide[..., ::-1], axis=-1, kind="stable")[..., ::-1]
        after_nan = (np.arange(n) + np.isnan(wide).sum(axis=-1, keepdims=True)) % max(n, 1)
        order = np.take_along_axis(order, after_nan, axis=-1)
    else:
        order = np.argsort(wide, axis=-1, kind="stable")
    indices = order[..., :k] if sorted else np.sort(order[..., :k], axis=-1)
    return np.take_along_axis(x, indices, axis=-1), indices


def partition(x, kth):
    """Each row with the entries that sorting would put at the ascending places `kth` there."""
    return np.take_along_axis(x, argpartition(x, kth), axis=-1)


def argpartition(x, kth):
    """The indices of `partition`."""
    return np.argsort(_wide(x), axis=-1, kind="stable")


def order_statistics(x, ranks):
    """The entry of each row at each rank, 0 the smallest, and how many entries are NaN.

    ranks : int64, (rows or 1, any number), where rows are counted through
    """
    x = x.reshape(-1, x.shape[-1])
    ranks = np.broadcast_to(ranks, (x.shape[0], ranks.shape[1]))
    places = np.take_along_axis(argpartition(x, None), ranks, 1)
    return np.take_along_axis(x, places, axis=1), np.isnan(_wide(x)).sum(axis=1)


def _wide(x):
    """bfloat16, whose NaN NumPy does not sort last, and float16 as float32.

    NumPy 2.4 leaves subnormal float16 in wrong order where it sorts by AVX-512.
    """
    return x.astype(np.float32) if x.dtype.name in ("bfloat16", "float16") else x
