"""Integers that stand for floats; `reference` defines the answers.

The array is one flat piece of memory (C order), and a block of work is BLOCK entries of it,
wherever rows begin: any shape is spread evenly. Where entries that share a scale lie side by side
(per tensor, per axis but the last, blocks along the last), a run of them takes one scale; else (per
last axis, blocks along another) a row of the last axis takes a row of scales.
"""

from math import prod
from typing import NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from .._jit import njit
from ..reference.quantize import absmax_scale
from ._common import BLOCK, widened
from ._parallel import parallel, workers

_COLUMNS = 1024  # two accumulators of so many entries stay in the first cache


class _Layout(NamedTuple):
    """Rows of `n` entries; `size` of them in a run, or `size` rows under one row of scales.

    rows false: run j of row r takes scale r % group * ceil(n / size) + j.
    rows true: row r takes the n scales of row r // group * ceil(group / size) + r % group // size.
    """

    rows: bool
    n: int
    group: int
    size: int


def _layout(shape, axis, block_size):
    if axis is None:
        return _Layout(False, prod(shape), 1, prod(shape))
    length, outer, inner = shape[axis], prod(shape[:axis]), prod(shape[axis + 1 :])
    if block_size is None:
        if inner == 1:
            return _Layout(True, length, outer, outer)
        return _Layout(False, inner, length, inner)
    if inner == 1:
        return _Layout(False, length, outer, block_size)
    return _Layout(True, inner, length, block_size)


def _shape_of_scales(shape, axis, block_size):
    if axis is None:
        return ()
    if block_size is None:
        return (shape[axis],)
    return (*shape[:axis], -(-shape[axis] // block_size), *shape[axis + 1 :])


# Least and largest. Floats are compared as integers in their own order: LLVM vectorizes that
# without flags that would let it assume there is no NaN. Above +inf and below -inf are NaN.


def min_max(x, axis, block_size):
    """Least and largest entry of all that share a scale, NaN left out; 0 where there is none."""
    x = np.ascontiguousarray(widened(x))
    shape = _shape_of_scales(x.shape, axis, block_size)
    if x.size == 0:
        return np.zeros(shape, x.dtype), np.zeros(shape, x.dtype)
    rows, n, group, size = _layout(x.shape, axis, block_size)
    integer = np.dtype(f"i{x.itemsize}").type
    keys, infinity = x.reshape(-1).view(integer), x.dtype.type(np.inf).view(integer)
    pieces = 1
    if rows:
        if block_size is None:  # one row of scales: take so many rows at a time, fold below
            size = min(size, max(64, BLOCK // n))
        extremes = np.empty((2, x.size // (n * group) * -(-group // size), n), integer)
        _min_max_rows(workers(), keys, infinity, n, group, size, *extremes)
    else:
        if block_size is None:
            size = min(size, 2 * BLOCK)
            pieces = -(-n // size)
        extremes = np.empty((2, x.size // n * -(-n // size)), integer)
        _min_max_runs(workers(), keys, infinity, n, size, *extremes)
    extremes = extremes.reshape(2, -1, prod(shape), pieces)
    low = extremes[0].min(axis=(0, 2)).reshape(shape)
    high = extremes[1].max(axis=(0, 2)).reshape(shape)
    shift, magnitude = integer(x.itemsize * 8 - 1), np.iinfo(integer).max
    found = [np.asarray(k ^ (k >> shift & magnitude)).view(x.dtype) for k in (low, high)]
    return tuple(np.where(np.isnan(f), x.dtype.type(0), f) for f in found)


@njit
def _min_max_run(keys, infinity):
    integer = keys.dtype.type
    shift = integer(8 * keys.itemsize - 1)
    magnitude = integer(~(integer(1) << shift))
    low, high = magnitude, integer(~magnitude)  # these are NaN
    for i in range(keys.size):
        key = integer(keys[i] ^ integer(integer(keys[i] >> shift) & magnitude))
        up = key if key <= infinity else integer(~magnitude)
        down = key if key >= integer(~infinity) else magnitude
        high = up if up > high else high
        low = down if down < low else low
    return low, high


@njit
def _min_max_runs_block(b, keys, infinity, n, size, low, high):
    step = max(1, BLOCK // size)
    per_row = -(-n // size)
    for run in range(b * step, min(low.size, (b + 1) * step)):
        row, j = run // per_row, run % per_row
        start = row * n + j * size
        end = row * n + min(n, (j + 1) * size)
        low[run], high[run] = _min_max_run(keys[start:end], infinity)


@njit
def _min_max_runs(pool, keys, infinity, n, size, low, high):
    blocks = -(-low.size // max(1, BLOCK // size))
    args = (keys, infinity, n, size, low, high)
    parallel(pool, _min_max_runs_block, blocks, args, keys.size // 4)


@njit
def _min_max_rows_block(b, keys, infinity, n, group, size, low, high):
    across = -(-n // _COLUMNS)
    per_group = -(-group // size)
    t, c = b // across, b % across * _COLUMNS
    first = t // per_group * group + t % per_group * size
    last = min(first + size, (t // per_group + 1) * group)
    width = min(_COLUMNS, n - c)
    integer = keys.dtype.type
    shift = integer(8 * keys.itemsize - 1)
    magnitude = integer(~(integer(1) << shift))
    lows, highs = low[t, c : c + width], high[t, c : c + width]
    lows[:], highs[:] = magnitude, integer(~magnitude)
    for r in range(first, last):
        row = keys[r * n + c : r * n + c + width]
        for i in range(width):
            key = integer(row[i] ^ integer(integer(row[i] >> shift) & magnitude))
            up = key if key <= infinity else integer(~magnitude)
            down = key if key >= integer(~infinity) else magnitude
            highs[i] = up if up > highs[i] else highs[i]
            lows[i] = down if down < lows[i] else lows[i]


@njit
def _min_max_rows(pool, keys, infinity, n, group, size, low, high):
    blocks = low.shape[0] * -(-n // _COLUMNS)
    args = (keys, infinity, n, group, size, low, high)
    parallel(pool, _min_max_rows_block, blocks, args, keys.size // 4)


# Quantize by given scales.


def quantize(x, scale, zero_point, axis, block_size, dtype, low, high):
    """clip(round_half_even(x / scale) + zero_point, low, high), and the number of NaN."""
    x = np.ascontiguousarray(x, scale.dtype)
    out = np.empty(x.shape, dtype)
    if x.size == 0:
        return out, 0
    rows, n, group, size = _layout(x.shape, axis, block_size)
    kernel = _quantize_rows if rows else _quantize_runs
    limits = np.array([low, high], scale.dtype)
    nans = np.zeros(-(-x.size // BLOCK), np.int64)
    zero = _floats(zero_point, scale)
    flat = out.reshape(-1).view(f"u{out.itemsize}")
    kernel(workers(), x.reshape(-1), scale.reshape(-1), zero, n, group, size, limits, flat, nans)
    return out, int(nans.sum())


def _floats(zero_point, scale):
    """`zero_point`, or zeros, flat and in the dtype of `scale`."""
    if zero_point is None:
        return np.zeros(scale.size, scale.dtype)
    return np.ascontiguousarray(zero_point, scale.dtype).reshape(-1)


@njit(forceinline=True)
def _nearest(x, scale, zero, low, high):
    v = np.rint(x / scale) + zero
    v = low if v < low else v
    v = high if v > high else v
    return np.int32(zero if v != v else v)


@njit
def _quantize_run(x, scale, zero, low, high, out):
    nans = np.int32(0)
    for i in range(x.size):
        out[i] = _nearest(x[i], scale, zero, low, high)
        nans = np.int32(nans + np.int32(x[i] != x[i]))
    return nans


@njit
def _quantize_runs_block(b, x, scale, zero, n, group, size, limits, out, nans):
    p, end = b * BLOCK, min(x.size, (b + 1) * BLOCK)
    per_row = -(-n // size)
    row, j = p // n, p % n // size
    while p < end:
        q = min(end, row * n + min(n, (j + 1) * size))
        s = row % group * per_row + j
        nans[b] += _quantize_run(x[p:q], scale[s], zero[s], limits[0], limits[1], out[p:q])
        p, j = q, j + 1
        if j == per_row:
            row, j = row + 1, 0


@njit
def _quantize_runs(pool, x, scale, zero, n, group, size, limits, out, nans):
    args = (x, scale, zero, n, group, size, limits, out, nans)
    parallel(pool, _quantize_runs_block, nans.size, args, x.size // 3)


@njit
def _quantize_row(x, scale, zero, low, high, out):
    nans = np.int32(0)
    for i in range(x.size):
        out[i] = _nearest(x[i], scale[i], zero[i], low, high)
        nans = np.int32(nans + np.int32(x[i] != x[i]))
    return nans


@njit
def _quantize_rows_block(b, x, scale, zero, n, group, size, limits, out, nans):
    p, end = b * BLOCK, min(x.size, (b + 1) * BLOCK)
    while p < end:
        row, c = p // n, p % n
        q = min(end, row * n + n)
        s = _scales_of_row(row, n, group, size) + c
        t = s + q - p
        nans[b] += _quantize_row(x[p:q], scale[s:t], zero[s:t], limits[0], limits[1], out[p:q])
        p = q


@njit(forceinline=True)
def _scales_of_row(row, n, group, size):
    return (row // group * -(-group // size) + row % group // size) * n


@njit
def _quantize_rows(pool, x, scale, zero, n, group, size, limits, out, nans):
    args = (x, scale, zero, n, group, size, limits, out, nans)
    parallel(pool, _quantize_rows_block, nans.size, args, x.size // 3)


# Find the scales and quantize.


def quantize_absmax(x, axis, block_size, dtype, low, high):
    """`quantize` by the scale absmax / high; also returns the scale, inf where absmax is."""
    x = np.ascontiguousarray(widened(x))
    rows, n, group, size = _layout(x.shape, axis, block_size)
    if x.size == 0 or rows or group * n != x.size or size > 16 * BLOCK:
        least, largest = min_max(x, axis, block_size)
        scale = absmax_scale(np.maximum(-least, largest), high)
        return _with_scale(x, scale, axis, block_size, dtype, low, high)
    # Every run has a scale of its own and is in cache when it is read a second time.
    out = np.empty(x.shape, dtype)
    scale = np.empty(_shape_of_scales(x.shape, axis, block_size), x.dtype)
    integer = np.dtype(f"i{x.itemsize}").type
    nans = np.zeros(-(-scale.size // max(1, BLOCK // size)), np.int64)
    limits = np.array([low, high, np.finfo(x.dtype).smallest_normal, np.inf], x.dtype)
    flat = x.reshape(-1)
    _absmax_runs(
        workers(),
        flat,
        flat.view(integer),
        limits,
        limits.view(integer)[3],
        n,
        size,
        scale.reshape(-1),
        out.reshape(-1).view(f"u{out.itemsize}"),
        nans,
    )
    return out, scale, int(nans.sum())


def _with_scale(x, scale, axis, block_size, dtype, low, high):
    q, nan_count = quantize(x, scale, None, axis, block_size, dtype, low, high)
    return q, scale, nan_count


def _float_of(bits):
    """The float32 or float64 with the bits of an int32 or int64."""
    raise TypeError("only for compiled code")


@overload(_float_of, jit_options={"fastmath": False})
def _float_of_bits(bits):
    if bits == types.int32:
        return lambda bits: np.int32(bits).view(np.float32)
    return lambda bits: np.int64(bits).view(np.float64)


@njit
def _absmax_run(keys, infinity):
    """Largest magnitude that is not NaN, as bits."""
    integer = keys.dtype.type
    magnitude = integer(~(integer(1) << integer(8 * keys.itemsize - 1)))
    largest = integer(0)
    for i in range(keys.size):
        key = integer(keys[i] & magnitude)
        key = key if key <= infinity else integer(0)
        largest = key if key > largest else largest
    return largest


@njit
def _absmax_runs_block(b, x, keys, limits, infinity, n, size, scale, out, nans):
    step = max(1, BLOCK // size)
    per_row = -(-n // size)
    for run in range(b * step, min(scale.size, (b + 1) * step)):
        row, j = run // per_row, run % per_row
        p, q = row * n + j * size, row * n + min(n, (j + 1) * size)
        absmax = _float_of(_absmax_run(keys[p:q], infinity))
        s = absmax / limits[1]
        if s < limits[2] and s * limits[1] < absmax:  # as reference.absmax_scale
            s = np.nextafter(s, limits[3])
        s = s if absmax > 0 else x.dtype.type(1)
        scale[run] = s
        nans[b] += _quantize_run(x[p:q], s, x.dtype.type(0), limits[0], limits[1], out[p:q])


@njit
def _absmax_runs(pool, x, keys, limits, infinity, n, size, scale, out, nans):
    args = (x, keys, limits, infinity, n, size, scale, out, nans)
    parallel(pool, _absmax_runs_block, nans.size, args, x.size // 2)


# Back to floats.


def dequantize(q, scale, zero_point, axis, block_size, dtype, out):
    """(q - zero_point) * scale, computed in the wider of the dtypes, at least float32."""
    wide = np.float64 if np.float64 in (scale.dtype, dtype) else np.float32
    scale = np.ascontiguousarray(scale, wide).reshape(-1)
    direct = out is not None and out.dtype == wide and out.flags.c_contiguous
    result = out if direct else np.empty(q.shape, wide)
    if q.size:
        rows, n, group, size = _layout(q.shape, axis, block_size)
        kernel = _dequantize_rows if rows else _dequantize_runs
        flat, zero = np.ascontiguousarray(q).reshape(-1), _floats(zero_point, scale)
        kernel(workers(), flat, scale, zero, n, group, size, result.reshape(-1))
    if out is None:
        return result.astype(dtype, copy=False)
    if not direct:
        out[...] = result.astype(dtype, copy=False)
    return out


@njit
def _dequantize_runs_block(b, q, scale, zero, n, group, size, out):
    p, end = b * BLOCK, min(q.size, (b + 1) * BLOCK)
    per_row = -(-n // size)
    row, j = p // n, p % n // size
    while p < end:
        t = min(end, row * n + min(n, (j + 1) * size))
        s = row % group * per_row + j
        values, result, one, middle = q[p:t], out[p:t], scale[s], zero[s]
        for i in range(values.size):
            result[i] = (scale.dtype.type(values[i]) - middle) * one
        p, j = t, j + 1
        if j == per_row:
            row, j = row + 1, 0


@njit
def _dequantize_runs(pool, q, scale, zero, n, group, size, out):
    args = (q, scale, zero, n, group, size, out)
    parallel(pool, _dequantize_runs_block, -(-q.size // BLOCK), args, q.size // 3)


@njit
def _dequantize_rows_block(b, q, scale, zero, n, group, size, out):
    p, end = b * BLOCK, min(q.size, (b + 1) * BLOCK)
    while p < end:
        row, c = p // n, p % n
        t = min(end, row * n + n)
        s = _scales_of_row(row, n, group, size) + c
        values, result, scales, zeros = q[p:t], out[p:t], scale[s : s + t - p], zero[s : s + t - p]
        for i in range(values.size):
            result[i] = (scale.dtype.type(values[i]) - zeros[i]) * scales[i]
        p = t


@njit
def _dequantize_rows(pool, q, scale, zero, n, group, size, out):
    args = (q, scale, zero, n, group, size, out)
    parallel(pool, _dequantize_rows_block, -(-q.size // BLOCK), args, q.size // 3)


# Two 4-bit values a byte.


def pack_nibbles(q):
    """4-bit values two a byte along the last axis, low nibble first, an odd end padded with 0."""
    if q.ndim == 0 or q.size == 0:
        shape = q.shape and (*q.shape[:-1], -(-q.shape[-1] // 2))
        return q.view(np.uint8).reshape(-1)[: q.size].reshape(shape) & 15
    out = np.empty((*q.shape[:-1], -(-q.shape[-1] // 2)), np.uint8)
    flat = np.ascontiguousarray(q).reshape(-1).view(np.uint8)
    _pack(workers(), flat, q.shape[-1], out.reshape(-1))
    return out


def unpack_nibbles(packed, shape, signed):
    """The int8 or uint8 values of `pack_nibbles`, of `shape`."""
    out = np.empty(shape, np.int8 if signed else np.uint8)
    if out.size:
        flat = np.ascontiguousarray(packed).reshape(-1)
        n = shape[-1] if shape else 1
        _unpack(workers(), flat, n, np.uint8(8 if signed else 0), out.reshape(-1).view(np.uint8))
    return out


@njit
def _pack_block(b, q, n, out):
    p, end = b * BLOCK, min(out.size, (b + 1) * BLOCK)
    m = -(-n // 2)
    while p < end:
        row, c = p // m, p % m
        t = min(end, row * m + m)
        full = min(t, row * m + n // 2)  # bytes before it hold two values
        values, result = q[row * n + 2 * c : row * n + 2 * c + 2 * (full - p)], out[p:full]
        for i in range(result.size):
            result[i] = values[2 * i] & np.uint8(15) | values[2 * i + 1] << np.uint8(4)
        if full < t:
            out[full] = q[row * n + n - 1] & np.uint8(15)
        p = t


@njit
def _pack(pool, q, n, out):
    parallel(pool, _pack_block, -(-out.size // BLOCK), (q, n, out), out.size // 2)


@njit
def _unpack_block(b, packed, n, sign, out):
    p, end = b * BLOCK, min(packed.size, (b + 1) * BLOCK)
    m = -(-n // 2)
    while p < end:
        row, c = p // m, p % m
        t = min(end, row * m + m)
        full = min(t, row * m + n // 2)
        result, values = out[row * n + 2 * c : row * n + 2 * c + 2 * (full - p)], packed[p:full]
        for i in range(values.size):
            result[2 * i] = ((values[i] & np.uint8(15)) ^ sign) - sign
            result[2 * i + 1] = (values[i] >> np.uint8(4) ^ sign) - sign
        if full < t:
            out[row * n + n - 1] = ((packed[full] & np.uint8(15)) ^ sign) - sign
        p = t


@njit
def _unpack(pool, packed, n, sign, out):
    args = (packed, n, sign, out)
    parallel(pool, _unpack_block, -(-packed.size // BLOCK), args, packed.size // 2)
