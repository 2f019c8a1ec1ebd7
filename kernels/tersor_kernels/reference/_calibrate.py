"""Histograms that scales are found from."""

import numpy as np

SMOOTHING = 1e-4


def histogram(rows, exponents, bins):
    """Counts of each row's entries in 2 * bins equal bins of (-2**e, 2**e), e its exponent.

    A bin ends where it is nearest to 0 and holds that end; zeros are in number `bins`.
    rows : (channels, n), smaller in magnitude than 2**e; NaN is not counted.
    """
    counts = np.zeros((rows.shape[0], 2 * bins), np.int64)
    for row, exponent, count in zip(rows, exponents, counts, strict=True):
        row = row[~np.isnan(row)].astype(np.float64)
        k = (np.ldexp(np.abs(row), -int(exponent)) * bins).astype(np.int64)
        np.add.at(count, np.where(row < 0, bins - 1 - k, bins + k), 1)
    return counts


def entropy_bins(counts, levels):
    """How many bins of a histogram to keep so that `levels` levels lose the least information.

    counts : (channels, bins), of magnitudes. For each i from `levels` on, P is the first i bins
    with the rest added to the last, and Q the first i bins alone, merged in `levels` groups of
    (nearly) equal width, the count of each spread evenly over its bins that are not empty. The i
    with the least Kullback-Leibler divergence of P from Q, both made to sum to 1, and SMOOTHING of
    Q spread over the bins of P, so that it is not 0 where the rest was added to an empty bin. The
    first of several; all bins for a histogram of nothing.
    """
    result = np.empty(counts.shape[0], np.int64)
    for c, count in enumerate(counts.astype(np.float64)):
        best, result[c] = np.inf, count.size
        for i in range(levels, count.size + 1):
            p, q = count[:i].copy(), count[:i]
            p[-1] += count[i:].sum()
            if q.sum() == 0:
                continue
            starts = np.arange(levels) * i // levels
            used = np.add.reduceat(q > 0, starts, dtype=np.int64)
            mean = np.add.reduceat(q, starts) / np.maximum(used, 1)
            q = np.where(q > 0, np.repeat(mean, np.diff(starts, append=i)), 0)
            some = p > 0
            p, q = p[some] / p.sum(), q[some] / q.sum()
            q = (1 - SMOOTHING) * q + SMOOTHING / p.size
            divergence = np.sum(p * np.log(p / q))
            if divergence < best:
                best, result[c] = divergence, i
    return result
