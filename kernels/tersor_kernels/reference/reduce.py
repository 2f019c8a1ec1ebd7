"""Reductions of (outer, n, inner) along n, in longdouble or exact integers."""

import numpy as np


def total(x, skip_nan):
    """Sums, float64 of floats and int64 or uint64 of integers, and how many entries were summed."""
    counts = np.full((x.shape[0], x.shape[2]), x.shape[1])
    if x.dtype.kind in "iub":
        return x.sum(axis=1), counts
    x = x.astype(np.longdouble)
    if skip_nan:
        counts = counts - np.isnan(x).sum(axis=1)
        x = np.where(np.isnan(x), 0, x)
    with np.errstate(invalid="ignore"):
        return x.sum(axis=1).astype(np.float64), counts


def squares(x, mean, skip_nan):
    """Sums of (x - mean)**2 as float64, for a mean of shape (outer, inner)."""
    with np.errstate(invalid="ignore"):
        deviations = x.astype(np.longdouble) - mean[:, None]
        if skip_nan:
            deviations = np.where(np.isnan(x), 0, deviations)
        return (deviations**2).sum(axis=1).astype(np.float64)


def extreme(x, largest, skip_nan):
    """The largest or smallest entries; NaN where there is one, or where there is nothing else."""
    if x.dtype.kind in "iub":
        return x.max(axis=1) if largest else x.min(axis=1)
    chosen = {
        (True, True): np.fmax,
        (True, False): np.maximum,
        (False, True): np.fmin,
        (False, False): np.minimum,
    }[bool(largest), bool(skip_nan)]
    with np.errstate(invalid="ignore"):
        return chosen.reduce(x, axis=1)


def arg_extreme(x, largest, skip_nan):
    """Where the first of the largest or smallest entries is; NaN counts as one unless skipped."""
    if x.dtype.kind not in "iub" and skip_nan:
        x = np.where(np.isnan(x), x.dtype.type(-np.inf if largest else np.inf), x)
    return x.argmax(axis=1) if largest else x.argmin(axis=1)


def count(x):
    """How many entries are not zero."""
    return (x != 0).sum(axis=1)
