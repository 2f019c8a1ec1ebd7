"""Integers that stand for floats; `reference` defines the answers."""

import numpy as np

from .._jit import njit
from ..reference import quantize as reference
from ._calibrate import entropy_bins as entropy_bins
from ._calibrate import histogram as histogram
from ._calibrate import squared_errors as squared_errors
from ._common import BLOCK, widened
from ._extremes import absmax_run
from ._extremes import min_max as min_max
from ._layout import after, layout_of, place, segment, shape_of_scales
from ._nibbles import pack_nibbles as pack_nibbles
from ._nibbles import unpack_nibbles as unpack_nibbles
from ._parallel import parallel, workers
from ._philox import fill_words
from ._rounding import DIVIDE, ORDERS, STOCHASTIC, clipped, round_scaled


def absmax_scale(absmax, largest):
    """absmax / largest; 1 where absmax is 0."""
    return reference.absmax_scale(absmax, largest)


def quantize(x, scale, zero_point, axis, block_size, dtype, low, high, order, seed):
    """clip(round(x / scale) + zero_point, low, high), and the number of NaN."""
    if scale.dtype.itemsize == 2:  # to round every step to 16 bits is for comparisons only
        return reference.quantize(
            x, scale, zero_point, axis, block_size, dtype, low, high, order, seed
        )
    x = np.asarray(x, scale.dtype, order="C")
    out = np.empty(x.shape, dtype)
    nans = np.zeros(-(-x.size // BLOCK), np.int64)
    if x.size:
        args = _arguments(x, scale, zero_point, axis, block_size, low, high, order, seed)
        _quantize(workers(), *args, out.reshape(-1).view(f"u{out.itemsize}"), nans)
    return out, int(nans.sum())


def _arguments(x, scale, zero_point, axis, block_size, low, high, order, seed):
    layout = layout_of(x.shape, axis, block_size)
    limits = (scale.dtype.type(low), scale.dtype.type(high))
    flat = np.asarray(scale, order="C").reshape(-1)
    zero = _floats(zero_point, flat)
    return x.reshape(-1), flat, zero, layout, limits, ORDERS[order], np.uint64(seed or 0)


def _floats(zero_point, scale):
    """`zero_point`, or zeros, flat and in the dtype of `scale`."""
    if zero_point is None:
        return np.zeros(scale.size, scale.dtype)
    return np.asarray(zero_point, scale.dtype, order="C").reshape(-1)


@njit(forceinline=True)
def _quantize_run(x, scale, zero, low, high, out):
    """One scale for all of `x`; returns the number of NaN."""
    nans = np.int32(0)
    for i in range(x.size):
        out[i] = np.int32(clipped(np.rint(x[i] / scale) + zero, zero, low, high))
        nans = np.int32(nans + np.int32(x[i] != x[i]))
    return nans


@njit(forceinline=True)
def _quantize_row(x, scale, zero, low, high, out):
    """A scale for each entry of `x`; returns the number of NaN."""
    nans = np.int32(0)
    for i in range(x.size):
        out[i] = np.int32(clipped(np.rint(x[i] / scale[i]) + zero[i], zero[i], low, high))
        nans = np.int32(nans + np.int32(x[i] != x[i]))
    return nans


@njit
def _quantize_run_as(order, words, x, scale, zero, limits, out):
    """`_quantize_run` for the orders of rounding that are not the fast one."""
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
def _quantize_block(b, x, scale, zero, layout, limits, order, seed, out, nans):
    start, end = b * BLOCK, min(x.size, (b + 1) * BLOCK)
    words = np.empty(BLOCK if order == STOCHASTIC else 0, np.uint32)
    fill_words(seed, start // 4, words)
    low, high = limits
    p, found = start, 0
    row, j = place(p, layout)
    while p < end:
        q, s, count = segment(p, end, row, j, layout)
        if order == DIVIDE and not layout.rows:
            found += _quantize_run(x[p:q], scale[s], zero[s], low, high, out[p:q])
        elif order == DIVIDE:
            scales, zeros = scale[s : s + count], zero[s : s + count]
            found += _quantize_row(x[p:q], scales, zeros, low, high, out[p:q])
        else:
            scales, zeros = scale[s : s + count], zero[s : s + count]
            part = words[p - start : q - start]
            found += _quantize_run_as(order, part, x[p:q], scales, zeros, limits, out[p:q])
        p = q
        row, j = after(row, j, layout)
    nans[b] = found


@njit
def _quantize(pool, x, scale, zero, layout, limits, order, seed, out, nans):
    args = (x, scale, zero, layout, limits, order, seed, out, nans)
    parallel(pool, _quantize_block, nans.size, args, x.size // 3)


def quantize_absmax(x, axis, block_size, dtype, low, high):
    """`quantize` by the scale absmax / high; also returns the scale, inf where absmax is."""
    x = np.asarray(widened(x), order="C")
    rows, n, group, size = layout_of(x.shape, axis, block_size) if x.size else (1, 0, 0, 0)
    if rows or group * n != x.size or size > 16 * BLOCK:
        least, largest, _ = min_max(x, axis, block_size)
        scale = absmax_scale(np.maximum(-least, largest), high)
        q, nan_count = quantize(x, scale, None, axis, block_size, dtype, low, high, "divide", None)
        return q, scale, nan_count
    # Every run has a scale of its own, and is in cache when it is read a second time.
    out = np.empty(x.shape, dtype)
    scale = np.empty(shape_of_scales(x.shape, axis, block_size), x.dtype)
    nans = np.zeros(-(-scale.size // max(1, BLOCK // size)), np.int64)
    bounds = np.array([low, high, np.finfo(x.dtype).smallest_normal, np.inf], x.dtype)
    keys = x.reshape(-1).view(f"i{x.itemsize}")
    results = scale.reshape(-1), out.reshape(-1).view(f"u{out.itemsize}"), nans
    _absmax_runs(
        workers(), x.reshape(-1), keys, bounds, bounds.view(keys.dtype)[3], n, size, *results
    )
    return out, scale, int(nans.sum())


@njit
def _absmax_runs_block(b, x, keys, limits, infinity, n, size, scale, out, nans):
    step = max(1, BLOCK // size)
    per_row = -(-n // size)
    low, high, tiny, inf = limits
    zero, one, found = x.dtype.type(0), x.dtype.type(1), 0
    row, j = b * step // per_row, b * step % per_row
    for run in range(b * step, min(scale.size, (b + 1) * step)):
        p, q = row * n + j * size, row * n + min(n, (j + 1) * size)
        row, j = (row, j + 1) if j + 1 < per_row else (row + 1, 0)
        absmax = absmax_run(keys[p:q], infinity)
        s = absmax / high
        if s < tiny and s * high < absmax:  # as reference.absmax_scale
            s = np.nextafter(s, inf)
        elif s * high == inf and absmax < inf:
            s = np.nextafter(s, zero)
        s = s if absmax > 0 else one
        scale[run] = s
        found += _quantize_run(x[p:q], s, zero, low, high, out[p:q])
    nans[b] = found


@njit
def _absmax_runs(pool, x, keys, bounds, infinity, n, size, scale, out, nans):
    limits = (bounds[0], bounds[1], bounds[2], bounds[3])
    args = (x, keys, limits, infinity, n, size, scale, out, nans)
    parallel(pool, _absmax_runs_block, nans.size, args, x.size // 2)


def fake_quantize(x, scale, zero_point, axis, block_size, low, high, order, seed):
    """The float that `quantize` and `dequantize` make of each entry, and where it was in range."""
    if scale.dtype.itemsize == 2:
        return reference.fake_quantize(
            x, scale, zero_point, axis, block_size, low, high, order, seed
        )
    wide = np.asarray(x, scale.dtype, order="C")
    values, mask = np.empty(x.shape, scale.dtype), np.empty(x.shape, np.bool_)
    if x.size:
        args = _arguments(wide, scale, zero_point, axis, block_size, low, high, order, seed)
        _fake_quantize(workers(), *args, values.reshape(-1), mask.reshape(-1))
    return values.astype(x.dtype, copy=False), mask


@njit(forceinline=True)
def _fake_run(x, scale, zero, low, high, values, mask):
    for i in range(x.size):
        v = np.rint(x[i] / scale) + zero
        mask[i] = v >= low and v <= high
        values[i] = (clipped(v, zero, low, high) - zero) * scale


@njit(forceinline=True)
def _fake_row(x, scale, zero, low, high, values, mask):
    for i in range(x.size):
        v = np.rint(x[i] / scale[i]) + zero[i]
        mask[i] = v >= low and v <= high
        values[i] = (clipped(v, zero[i], low, high) - zero[i]) * scale[i]


@njit
def _fake_run_as(order, words, x, scale, zero, limits, values, mask):
    low, high = limits
    for i in range(x.size):
        k = i if scale.size > 1 else 0
        word = words[i] if words.size else np.uint32(0)
        v = round_scaled(x[i], scale[k], zero[k], order, word)
        mask[i] = v >= low and v <= high
        v = clipped(v, zero[k], low, high) + (low - low)  # an integer has no -0.0
        values[i] = (v - zero[k]) * scale[k]


@njit
def _fake_quantize_block(b, x, scale, zero, layout, limits, order, seed, values, mask):
    start, end = b * BLOCK, min(x.size, (b + 1) * BLOCK)
    words = np.empty(BLOCK if order == STOCHASTIC else 0, np.uint32)
    fill_words(seed, start // 4, words)
    low, high = limits
    p = start
    row, j = place(p, layout)
    while p < end:
        q, s, count = segment(p, end, row, j, layout)
        if order == DIVIDE and not layout.rows:
            _fake_run(x[p:q], scale[s], zero[s], low, high, values[p:q], mask[p:q])
        elif order == DIVIDE:
            scales, zeros = scale[s : s + count], zero[s : s + count]
            _fake_row(x[p:q], scales, zeros, low, high, values[p:q], mask[p:q])
        else:
            scales, zeros = scale[s : s + count], zero[s : s + count]
            part = words[p - start : q - start]
            _fake_run_as(order, part, x[p:q], scales, zeros, limits, values[p:q], mask[p:q])
        p = q
        row, j = after(row, j, layout)


@njit
def _fake_quantize(pool, x, scale, zero, layout, limits, order, seed, values, mask):
    args = (x, scale, zero, layout, limits, order, seed, values, mask)
    parallel(pool, _fake_quantize_block, -(-x.size // BLOCK), args, x.size // 2)


def dequantize(q, scale, zero_point, axis, block_size, dtype, out):
    """(q - zero_point) * scale, computed in the wider of the dtypes, at least float32."""
    wide = np.float64 if np.float64 in (scale.dtype, dtype) else np.float32
    scale = np.asarray(scale, wide, order="C").reshape(-1)
    direct = out is not None and out.dtype == wide and out.flags.c_contiguous
    result = out if direct else np.empty(q.shape, wide)
    if q.size:
        layout = layout_of(q.shape, axis, block_size)
        flat, zero = np.asarray(q, order="C").reshape(-1), _floats(zero_point, scale)
        _dequantize(workers(), flat, scale, zero, layout, result.reshape(-1))
    if out is None:
        return result.astype(dtype, copy=False)
    if not direct:
        out[...] = result.astype(dtype, copy=False)
    return out


@njit(forceinline=True)
def _dequantize_run(q, scale, zero, out):
    for i in range(q.size):
        out[i] = (type(scale)(q[i]) - zero) * scale


@njit(forceinline=True)
def _dequantize_row(q, scale, zero, out):
    for i in range(q.size):
        out[i] = (scale.dtype.type(q[i]) - zero[i]) * scale[i]


@njit
def _dequantize_block(b, q, scale, zero, layout, out):
    p, end = b * BLOCK, min(q.size, (b + 1) * BLOCK)
    row, j = place(p, layout)
    while p < end:
        t, s, count = segment(p, end, row, j, layout)
        if layout.rows:
            _dequantize_row(q[p:t], scale[s : s + count], zero[s : s + count], out[p:t])
        else:
            _dequantize_run(q[p:t], scale[s], zero[s], out[p:t])
        p = t
        row, j = after(row, j, layout)


@njit
def _dequantize(pool, q, scale, zero, layout, out):
    args = (q, scale, zero, layout, out)
    parallel(pool, _dequantize_block, -(-q.size // BLOCK), args, q.size // 3)
