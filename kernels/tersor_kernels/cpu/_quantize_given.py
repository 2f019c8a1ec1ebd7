"""Quantization by given scales."""

import numpy as np

from .._jit import njit
from ._common import BLOCK
from ._layout import Layout, after, place, segment
from ._native import array_at, data_of
from ._parallel import parallel
from ._philox import fill_words
from ._quantize_runs import quantize_row, quantize_run, quantize_slowly
from ._rounding import STOCHASTIC, clipped, round_scaled


@njit
def _all_block(b, x, n, scale, zero, low, high, out, nans):
    p, q = b * BLOCK, min(n, (b + 1) * BLOCK)
    if quantize_run(x[p:q], scale, zero, low, high, out[p:q]):
        nans[b] = quantize_slowly(x[p:q], scale, zero, low, high, out[p:q])


@njit
def quantize_all(pool, x, n, scale, zero, low, high, out):
    """One scale for all `n` entries, to bytes; returns the number of NaN.

    The arrays are given by their id(), and the scale is of the dtype of `x`: a call with arrays
    takes a microsecond longer.
    """
    kind = type(scale)
    x, out = array_at(data_of(x), kind), array_at(data_of(out), np.uint8)
    zero, low, high = kind(zero), kind(low), kind(high)
    nans = np.zeros((n + BLOCK - 1) // BLOCK, np.int64)
    parallel(pool, _all_block, nans.size, (x, n, scale, zero, low, high, out, nans), n // 16)
    count = 0
    for b in range(nans.size):
        count += nans[b]
    return count


@njit
def _block(b, n, x, scale, zero, layout, low, high, out, nans):
    start, end = b * BLOCK, min(n, (b + 1) * BLOCK)
    slowly = False
    while True:
        p, failed = start, False
        row, j = place(p, layout)
        while p < end:
            q, s, count = segment(p, end, row, j, layout)
            if layout.rows:
                scales, zeros = scale[s : s + count], zero[s : s + count]
                nans[b] += quantize_row(x[p:q], scales, zeros, low, high, out[p:q])
            elif slowly:
                nans[b] += quantize_slowly(x[p:q], scale[s], zero[s], low, high, out[p:q])
            else:
                failed |= quantize_run(x[p:q], scale[s], zero[s], low, high, out[p:q])
            p = q
            row, j = after(row, j, layout)
        if slowly or not failed:
            break
        slowly = True


@njit
def quantize_layout(pool, x, size, scale, zero, rows, n, group, run, low, high, bits, out):
    """Layout(rows, n, group, run) of all `size` entries; returns the number of NaN.

    The arrays are given by their id(), the scales and zero points are of the dtype of `x`, and of
    `low` and `high`; results have the dtype of `bits`.
    """
    kind = type(low)
    x, out = array_at(data_of(x), kind), array_at(data_of(out), type(bits))
    scale, zero = array_at(data_of(scale), kind), array_at(data_of(zero), kind)
    nans, found = np.zeros((size + BLOCK - 1) // BLOCK, np.int64), 0
    args = (size, x, scale, zero, Layout(rows, n, group, run), low, high, out, nans)
    parallel(pool, _block, nans.size, args, size // 10)
    for b in range(nans.size):
        found += nans[b]
    return found


@njit
def _run_as(order, words, x, scale, zero, limits, out):
    """Any order of rounding."""
    low, high = limits
    nans = 0
    for i in range(x.size):
        k = i if scale.size > 1 else 0
        word = words[i] if words.size else np.uint32(0)
        v = round_scaled(x[i], scale[k], zero[k], order, word)
        out[i] = np.int32(clipped(v, zero[k], low, high))
        nans += x[i] != x[i]
    return nans


@njit
def _as_block(b, x, scale, zero, layout, limits, order, seed, starts, out, nans):
    start, end = b * BLOCK, min(x.size, (b + 1) * BLOCK)
    words = np.empty(end - start if order == STOCHASTIC else 0, np.uint32)
    fill_words(seed, start, starts, x.size // starts.size, words)
    p = start
    row, j = place(p, layout)
    while p < end:
        q, s, count = segment(p, end, row, j, layout)
        scales, zeros = scale[s : s + count], zero[s : s + count]
        part = words[p - start : q - start]
        nans[b] += _run_as(order, part, x[p:q], scales, zeros, limits, out[p:q])
        p = q
        row, j = after(row, j, layout)


@njit
def quantize_as(pool, x, scale, zero, layout, limits, order, seed, starts, out, nans):
    args = (x, scale, zero, layout, limits, order, seed, starts, out, nans)
    parallel(pool, _as_block, nans.size, args, 3 * x.size)
