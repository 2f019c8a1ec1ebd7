"""Counts, means and squared deviations of many leaves, merged into one."""

import numpy as np

from .._jit import njit
from ._reduce_fold import LEAF


def merge_moments(planes, leaves, n, skip):
    """(counts, or one for all; sums of squared deviations from the mean) of columns, float64.

    planes : (parts, rows, columns) of moments, or of nanmoments if `skip`; the centres are last
    leaves : a row is one of that many leaves of n elements, each for several rows in turn

    Two sets are one as Chan, Golub and LeVeque have it (1979), rows by halving; equal means give
    exactly 0.
    """
    _, rows, columns = planes.shape
    count, squares = np.empty(columns if rows > 1 or skip else 1), np.empty(columns)
    # A compiled function that returned arrays would run Python code to make them, and go on if
    # Ctrl-C stopped that: a SystemError.
    _merge(planes, leaves, n, skip, count, squares)
    return count, squares


@njit
def _merge(planes, leaves, n, skip, counts, results):
    """Write what `merge_moments` returns."""
    rows, columns = planes.shape[1:]
    if rows == 1 and not skip:
        counts[0] = n
        for j in range(columns):
            total = planes[0, 0, j]
            apart = planes[1, 0, j] - total * total / n
            results[j] = 0 if apart < 0 else apart  # NaN stays
        return
    count, mean, squares = np.empty((3, rows, columns))
    for i in range(rows):
        leaf = i * leaves // rows
        for j in range(columns):
            total, apart = planes[0, i, j], planes[1, i, j]
            if skip:
                m = planes[2, i, j]
            else:
                m = np.float64(min(LEAF, n - LEAF * leaf))
            count[i, j], mean[i, j] = m, planes[-1, i, j] + total / m
            squares[i, j] = apart - total * total / m
            if squares[i, j] < 0 or m == 0:  # not if it is NaN
                squares[i, j] = 0
    while rows > 1:
        half = (rows + 1) // 2
        for i in range(rows - half):
            for j in range(columns):
                m, other = count[i, j], count[i + half, j]
                if other == 0:
                    continue
                if m == 0:
                    mean[i, j], squares[i, j] = mean[i + half, j], squares[i + half, j]
                else:
                    shift = mean[i + half, j] - mean[i, j]
                    mean[i, j] += shift * (other / (m + other))
                    squares[i, j] += squares[i + half, j] + shift * shift * (
                        m * other / (m + other)
                    )
                count[i, j] = m + other
        rows = half
    counts[:], results[:] = count[0], squares[0]
