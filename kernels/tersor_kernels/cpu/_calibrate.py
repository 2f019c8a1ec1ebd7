"""Histograms and errors that scales are found from; `reference/_calibrate.py` defines them."""

import numpy as np

from .._jit import njit
from ..reference import quantize as reference
from ..reference._calibrate import SMOOTHING
from ._common import BLOCK, rows_per_block, widened
from ._parallel import parallel, workers
from ._rounding import ORDERS, clipped, round_scaled

_PIECE = 1 << 16  # entries: its own histogram pays
_PIECES = 64  # histograms at most, so that they stay small beside the data


def histogram(rows, exponents, bins):
    """Counts of each row's entries in 2 * bins equal bins of (-2**e, 2**e), e its exponent."""
    rows = np.asarray(widened(rows), order="C")
    channels, n = rows.shape
    pieces = max(1, min(-(-n // _PIECE), _PIECES // max(channels, 1)))
    counts = np.zeros((channels, pieces, 2 * bins), np.int64)
    if rows.size:
        factors = np.ldexp(float(bins), -exponents)
        _histogram(workers(), rows, factors, bins, counts)
    return counts.sum(axis=1)


@njit
def _histogram_block(b, rows, factors, bins, counts):
    channel, piece = b // counts.shape[1], b % counts.shape[1]
    size = -(-rows.shape[1] // counts.shape[1])
    part, count = rows[channel, piece * size : (piece + 1) * size], counts[channel, piece]
    factor = factors[channel]
    for i in range(part.size):
        x = part[i]
        if x == x:
            k = np.int64(abs(x) * factor)
            count[np.uint64(bins - 1 - k if x < 0 else bins + k)] += 1


@njit
def _histogram(pool, rows, factors, bins, counts):
    blocks = counts.shape[0] * counts.shape[1]
    parallel(pool, _histogram_block, blocks, (rows, factors, bins, counts), rows.size)


def entropy_bins(counts, levels):
    """How many bins of a histogram to keep so that `levels` levels lose the least information."""
    result = np.empty(counts.shape[0], np.int64)
    counts = np.asarray(counts, np.float64, order="C")
    _entropy(workers(), counts, levels, result)
    return result


@njit
def _divergence(count, levels, i, total, kept, used):
    """Kullback-Leibler divergence of P from Q for i bins, which hold `kept` in `used` bins."""
    rest = total - kept
    used += count[i - 1] == 0 and rest > 0
    floor, share = SMOOTHING / used, (1 - SMOOTHING) / kept
    result = 0.0
    for k in range(levels):
        part = count[k * i // levels : (k + 1) * i // levels]
        sum_, filled = 0.0, 0
        for j in range(part.size):
            sum_ += part[j]
            filled += part[j] > 0
        mean = sum_ / max(filled, 1)
        for j in range(part.size):
            p = part[j]
            q = share * mean if p > 0 else 0.0
            if k == levels - 1 and j == part.size - 1:
                p += rest
            if p > 0:
                result += p / total * np.log(p / total / (q + floor))
    return result


@njit
def _entropy_block(b, counts, levels, result):
    count = counts[b]
    total, best = count.sum(), np.inf
    kept, used = count[: levels - 1].sum(), np.count_nonzero(count[: levels - 1])
    result[b] = count.size
    for i in range(levels, count.size + 1):
        kept += count[i - 1]
        used += count[i - 1] > 0
        divergence = _divergence(count, levels, i, total, kept, used) if kept > 0 else np.inf
        if divergence < best:
            best, result[b] = divergence, i


@njit
def _entropy(pool, counts, levels, result):
    work = counts.size * counts.shape[1] * 5
    parallel(pool, _entropy_block, result.size, (counts, levels, result), work)


def squared_errors(rows, scale, zero_point, low, high, order):
    """Sums of (fake_quantize - x)**2 of each row of (rows, n) by each of its candidate scales."""
    if scale.dtype.itemsize == 2:  # to round every step to 16 bits is for comparisons only
        return reference.squared_errors(rows, scale, zero_point, low, high, order)
    rows = np.asarray(rows, scale.dtype, order="C")
    pieces = -(-rows.shape[1] // BLOCK)
    errors = np.zeros((rows.shape[0], pieces, scale.shape[1]))
    if rows.size:
        zero = np.zeros_like(scale) if zero_point is None else zero_point.astype(scale.dtype)
        limits = (scale.dtype.type(low), scale.dtype.type(high))
        _squared_errors(workers(), rows, scale, zero, limits, ORDERS[order], errors)
    return errors.sum(axis=1)


@njit
def _differences(x, scale, zero, limits, order, out):
    low, high = limits
    for i in range(x.size):
        v = clipped(round_scaled(x[i], scale, zero, order, np.uint32(0)), zero, low, high)
        e = (v - zero) * scale - x[i]
        out[i] = e if x[i] == x[i] else zero - zero


@njit(fastmath={"reassoc", "contract"})
def _sum_of_squares(x):
    total = 0.0
    for i in range(x.size):
        total += np.float64(x[i]) * np.float64(x[i])
    return total


@njit
def _squared_errors_block(b, rows, scale, zero, limits, order, errors):
    pieces = errors.shape[1]
    step = rows_per_block(rows.shape[1])
    scratch = np.empty(min(BLOCK, rows.shape[1]), rows.dtype)
    for t in range(b * step, min(rows.shape[0] * pieces, (b + 1) * step)):
        row, piece = t // pieces, t % pieces
        x = rows[row, piece * BLOCK : (piece + 1) * BLOCK]
        for c in range(scale.shape[1]):
            out = scratch[: x.size]
            _differences(x, scale[row, c], zero[row, c], limits, order, out)
            errors[row, piece, c] = _sum_of_squares(out)


@njit
def _squared_errors(pool, rows, scale, zero, limits, order, errors):
    blocks = -(-rows.shape[0] * errors.shape[1] // rows_per_block(rows.shape[1]))
    args = (rows, scale, zero, limits, order, errors)
    parallel(pool, _squared_errors_block, blocks, args, rows.size * scale.shape[1])
