"""Linear layers with packed weights of 8 or 4 bits: the blocks' scales in the micro-kernel.

A block is some rows of x times some columns, and k is walked whole for each pair of panels: the sum
of each group of k goes, scaled, to a tile of floats in the first cache.
"""

from functools import cache, lru_cache
from math import erfc
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from .._jit import njit
from ._gemm_int8 import multiply_floats, multiply_scaled, scale_and_add, widen
from ._gemm_pack import (
    LINE,
    aligned,
    block_steps,
    group_starts,
    height_index,
    pack_nibbles,
    pack_strip,
    packed_starts,
    work_guess,
)
from ._gemm_rows import float_rows, round_rows
from ._gemm_tiles import Tile
from ._math import exp
from ._parallel import parallel, workers

_PART = 256  # entries of k in a panel of floats: 32 columns are 32 KiB
COLUMNS = 256
NONLINEARITIES = (None, "relu", "gelu", "silu")


@njit
def _multiply_scaled(tile, index, like, groups, a, b, scale, zero, steps, row_sums, out):
    count, places, blocks = groups
    if index == 0:
        multiply_scaled(
            tile, 0, like, count, places, blocks, a, b, scale, zero, steps, row_sums, out
        )
    elif index == 1:
        multiply_scaled(
            tile, 1, like, count, places, blocks, a, b, scale, zero, steps, row_sums, out
        )
    elif index == 2:
        multiply_scaled(
            tile, 2, like, count, places, blocks, a, b, scale, zero, steps, row_sums, out
        )
    else:
        multiply_scaled(
            tile, 3, like, count, places, blocks, a, b, scale, zero, steps, row_sums, out
        )


@njit
def _multiply_floats(tile, index, like, a, b, k, out):
    if index == 0:
        multiply_floats(tile, 0, like, a, b, k, out)
    elif index == 1:
        multiply_floats(tile, 1, like, a, b, k, out)
    elif index == 2:
        multiply_floats(tile, 2, like, a, b, k, out)
    else:
        multiply_floats(tile, 3, like, a, b, k, out)


# erf of Abramowitz and Stegun 7.1.26, within 1.5e-7.
_P = np.float32(0.3275911)
_ERF = np.float32([0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429])
_E1, _E2, _E3, _E4, _E5 = _ERF
_SQRT_HALF = np.sqrt(0.5)


def _gelu(x):
    """x times the share of the normal distribution below x, of float32 to 1.5e-7 |x|."""
    raise TypeError("only for compiled code")


@overload(_gelu, jit_options={"forceinline": True, "fastmath": False})
def _gelu_(x):
    one, half = np.float32(1), np.float32(0.5)
    factor = np.float32(_SQRT_HALF)

    def single(x):
        z = abs(x) * factor
        t = one / (one + _P * z)
        p = ((((_E5 * t + _E4) * t + _E3) * t + _E2) * t + _E1) * t
        tail = p * exp(-z * z) * half
        return x * (tail if x < np.float32(0) else one - tail)

    def double(x):
        return 0.5 * x * erfc(-x * _SQRT_HALF)

    return single if x == types.float32 else double


@njit
def _apply(function, row):
    """The function of that place in NONLINEARITIES, in place."""
    one = row.dtype.type(1)
    if function == 2:
        for j in range(row.size):
            row[j] = _gelu(row[j])
    elif function == 3:
        for j in range(row.size):
            row[j] = row[j] / (one + exp(-row[j]))


@njit
def _finish_panel(tile, sums, rows, r, c, scale, bias, function, out):
    """out = function(scale * sums + bias) for `rows` rows from r on, and a panel from c on."""
    count = min(tile.width, out.shape[1] - c)
    result = out[r : r + rows, c : c + count]
    to = result if count == tile.width else sums
    offset, scales = bias[c:].ctypes.data, scale[r:].ctypes.data
    start, step = to.ctypes.data, to.strides[0]
    scale_and_add(tile, sums, rows, sums.ctypes.data, scales, offset, function == 1, start, step)
    for i in range(rows if count < tile.width else 0):
        row = out[r + i, c : c + count]
        for j in range(count):
            row[j] = sums[i, j]
    for i in range(rows if function > 1 else 0):
        _apply(function, out[r + i, c : c + count])


@njit
def _corner(i, tile, m, n, k):
    """Where block i of the results begins, and its rows and columns."""
    rows, columns = block_steps(tile, m, n, k, 1)
    across = -(-n // columns)
    return i // across * rows, i % across * columns, rows, columns


@njit
def _int_block(i, tile, rows_of_x, weights, groups, bias, function, out):
    """Rows of x are int8 with scales: sums of groups are exact integers."""
    panels_a, row_sums, x_scale = rows_of_x
    panels, scale, zero = weights
    starts, places, block_of = groups
    m, n = out.shape
    tall, width = tile.heights[0], tile.width
    depth = tile.depth
    r0, c0, rows, columns = _corner(i, tile, m, n, places[-1])
    panel_bytes = places[-1] * width // tile.per_byte
    sums = np.empty((tall, width), scale.dtype)
    step_zero = zero.strides[0] if zero.shape[0] > 1 else 0
    steps = scale.strides[0], step_zero, row_sums.strides[0]
    parts = starts.size - 1, places.ctypes.data, block_of.ctypes.data
    for c in range(c0, min(n, c0 + columns), width):
        panel = panels.ctypes.data + c // width * panel_bytes
        s, z = scale.ctypes.data + c * scale.itemsize, zero.ctypes.data + 4 * c
        for r in range(r0, min(m, r0 + rows), tall):
            index = height_index(tile, m - r)
            a = panels_a.ctypes.data + 4 * r * (places[-1] // depth)
            total, to = row_sums.ctypes.data + 4 * r, sums.ctypes.data
            _multiply_scaled(tile, index, sums, parts, a, panel, s, z, steps, total, to)
            _finish_panel(tile, sums, min(tall, m - r), r, c, x_scale, bias, function, out)


@njit
def _float_block(i, tile, rows_of_x, weights, groups, bias, function, out):
    """Rows of x are floats, and weights become floats a panel at a time."""
    panels_a, _, x_scale = rows_of_x
    panels, scale, zero = weights
    starts, places, block_of = groups
    m, n = out.shape
    tall, width = tile.heights[0], tile.width
    depth = tile.depth
    r0, c0, rows, columns = _corner(i, tile, m, n, places[-1])
    end = min(m, r0 + rows)
    item = scale.itemsize
    step_zero = zero.strides[0] if zero.shape[0] > 1 else 0
    wide = np.empty((_PART, width), scale.dtype)
    sums = np.empty((rows, width), scale.dtype)
    for c in range(c0, min(n, c0 + columns), width):
        panel = panels.ctypes.data + c // width * (places[-1] * width // tile.per_byte)
        sums[:] = 0
        begin, filled = 0, 0
        for g in range(starts.size - 1):
            s = scale.ctypes.data + block_of[g] * scale.strides[0] + c * item
            z = zero.ctypes.data + block_of[g] * step_zero + 4 * c
            place = places[g]
            while place < places[g + 1]:
                part = min(places[g + 1] - place, _PART)
                if filled + part > _PART:
                    _add_floats(tile, panels_a, places[-1], r0, end, begin, filled, wide, sums)
                    begin, filled = place, 0
                b = panel + place * width // tile.per_byte
                to = wide[filled].ctypes.data
                widen(tile, scale, b, part // depth, s, z, to)
                filled += part
                place += part
        _add_floats(tile, panels_a, places[-1], r0, end, begin, filled, wide, sums)
        for r in range(r0, end, tall):
            _finish_panel(
                tile, sums[r - r0 :], min(tall, end - r), r, c, x_scale, bias, function, out
            )


@njit
def _add_floats(tile, panels_a, deep, r0, end, begin, k, wide, sums):
    """sums += k entries from `begin` on of the rows r0..end times the panel `wide`."""
    for r in range(r0, end, tile.heights[0]):
        index = height_index(tile, end - r)
        a = panels_a[r * deep + begin * tile.heights[index] :].ctypes.data
        to = sums[r - r0].ctypes.data
        _multiply_floats(tile, index, sums, a, wide.ctypes.data, k, to)


@njit
def _linear(tile, pool, x, rounds, weights, groups, bias, function, out):
    m, n = out.shape
    starts, places, _ = groups
    tall, k = tile.heights[0], places[-1]
    depth = tile.depth
    x_scale = np.empty(m, x.dtype)
    whole = -(-m // tall) * tall
    rows, columns = block_steps(tile, m, n, k, 1)
    blocks = -(-m // rows) * -(-n // columns)
    if rounds:
        panels = aligned(4 * whole * (k // depth))
        sums = np.empty((starts.size - 1, whole), np.int32)
        args = (tile, x, (starts, places), panels.ctypes.data, sums, x_scale)
        parallel(pool, round_rows, whole // tall, args, m * k // 2)
        work = work_guess(tile.lanes * tile.depth, m, n, k)
        args = (tile, (panels, sums, x_scale), weights, groups, bias, function, out)
        parallel(pool, _int_block, blocks, args, work)
    else:
        floats = np.empty(whole * k, x.dtype)
        sums = np.empty((0, 0), np.int32)
        args = (tile, x, (starts, places), floats, sums, x_scale)
        parallel(pool, float_rows, whole // tall, args, m * k)
        work = work_guess(tile.lanes, m, n, k)
        args = (tile, (floats, sums, x_scale), weights, groups, bias, function, out)
        parallel(pool, _float_block, blocks, args, work)


@njit
def _pack_block(i, tile, data, flip, groups, panels):
    """Panels of COLUMNS rows of the weights, bytes."""
    starts, places, _ = groups
    first = i * COLUMNS
    columns = min(COLUMNS, data.shape[0] - first)
    to = panels.ctypes.data + first * places[-1]
    step, k_step = data.strides
    source = data.ctypes.data + first * step
    for g in range(starts.size - 1):
        for k in range(starts[g], starts[g + 1], 1024):
            part = min(1024, starts[g + 1] - k)
            place = to + (places[g] + k - starts[g]) * tile.width
            apart = places[-1] * tile.width
            pack_strip(tile, source + k * k_step, step, k_step, columns, part, flip, place, apart)


@njit
def _pack_nibble_block(i, tile, data, flip, groups, panels):
    """A panel of weights of 4 bits."""
    starts, places, _ = groups
    columns = min(tile.width, data.shape[0] - i * tile.width)
    to = panels.ctypes.data + i * tile.width * places[-1] // 2
    pack_nibbles(tile, data, i * tile.width, columns, (starts, places), to)


@njit
def _pack(tile, pool, data, flip, groups, panels):
    n = data.shape[0]
    args = (tile, data, flip, groups, panels)
    if tile.per_byte == 2:
        parallel(pool, _pack_nibble_block, -(-n // tile.width), args, data.size)
    else:
        parallel(pool, _pack_block, -(-n // COLUMNS), args, data.size // 4)


@cache
def _compiled(tile):
    """`linear` and `pack`; `tile` is in them, as Numba takes microseconds for such an argument."""

    @njit
    def linear(pool, x, rounds, weights, groups, bias, function, out):
        """out = function(x w.T + bias); weights: panels, scale and zero (blocks, n)."""
        _linear(tile, pool, x, rounds, weights, groups, bias, function, out)

    @njit
    def pack(pool, data, flip, groups, panels):
        """Fill panels with the bytes of weights (n, k)."""
        _pack(tile, pool, data, flip, groups, panels)

    return linear, pack


class Packed(NamedTuple):
    """Weights (n, k) in the order in which the micro-kernels read them.

    panels : uint8, flat
    scale, zero : (blocks of k, columns in whole panels); zero is one row where `is_symmetric`
    shift : what was added to the values, and so to their zero points
    groups : where they begin in k and in a panel, and the block of each
    """

    tile: Tile
    shape: tuple[int, int]
    panels: Any
    scale: Any
    zero: Any
    is_symmetric: bool
    shift: int
    groups: Any

    @property
    def nbytes(self):
        return sum(part.nbytes for part in (self.panels, self.scale, self.zero))


@lru_cache
def _groups(tile, k, block_size):
    """Where groups of k begin, in weights and panels, and the block of each."""
    starts, block_of = group_starts(k, block_size, tile.longest)
    return starts, packed_starts(tile.depth * tile.per_byte, starts), block_of


def pack(data, scale, zero_point, block_size, bits, tile):
    """Pack int8 or uint8 weights (n, k) of 8 or 4 bits; scale and zero_point are (n, blocks of k).

    Weights of 4 bits take half a byte each.
    """
    n, k = data.shape
    tile = tile.with_nibbles(bits == 4)
    groups = _groups(tile, k, block_size)
    columns = -(-n // tile.width) * tile.width
    panels = np.empty(columns * groups[1][-1] // tile.per_byte + LINE, np.uint8)
    skip = -panels.ctypes.data % LINE
    panels = panels[skip : panels.size - LINE + skip]
    is_signed = data.dtype == np.int8
    shift = 0
    if tile.nibbles:
        shift = 8 if is_signed else 0
        data = data.view(np.uint8) + np.uint8(shift)
        flip = np.uint8(0)
    else:
        if is_signed != tile.signed:
            shift = 128 if is_signed else -128
        flip = np.uint8(0x80 if shift else 0)
    if panels.size:
        _compiled(tile)[1](workers(), data, flip, groups, panels)

    def by_block(values, dtype):
        table = np.zeros((values.shape[1], columns), dtype)
        table[:, :n] = values.T
        return table

    if zero_point is None:
        zero = np.full((1, columns), shift, np.int32)
    else:
        zero = by_block(zero_point + np.int32(shift), np.int32)
    scale = by_block(scale, scale.dtype)
    return Packed(tile, (n, k), panels, scale, zero, zero_point is None, shift, groups)


def unpack(w):
    """What `pack` took: weights (n, k) as bytes, scale and zero_point (n, blocks of k)."""
    starts, places, _ = w.groups
    tile, n, columns = w.tile, w.shape[0], w.zero.shape[1]
    unit = tile.depth * tile.per_byte
    words = w.panels.reshape(columns // tile.width, places[-1] // unit, tile.width, tile.depth)
    if tile.nibbles:
        words = np.stack([words & 15, words >> 4], axis=2)
    rows = np.moveaxis(words, -2, 1).reshape(columns, places[-1])[:n]
    parts = zip(places[:-1], np.diff(starts), strict=True)
    parts = [rows[:, place : place + size] for place, size in parts]
    data = np.concatenate([rows[:, :0], *parts], axis=1)
    zero = None if w.is_symmetric else w.zero[:, :n].T - w.shift
    return (data - w.shift).astype(np.uint8), w.scale[:, :n].T, zero


def linear_int8(x, w, bias, rounds, function, out=None):
    """function(x @ w.T + bias) of (m, k) float32 or float64 and packed weights (n, k).

    With `rounds` rows of x are rounded to int8, else weights become floats on the way.
    """
    m, n = x.shape[0], w.shape[0]
    out = np.empty((m, n), x.dtype) if out is None else out
    if out.size == 0:
        return out
    offset = np.zeros(w.scale.shape[1], x.dtype)
    if bias is not None:
        offset[:n] = bias
    weights = w.panels, w.scale.astype(x.dtype, copy=False), w.zero
    number = NONLINEARITIES.index(function)
    linear, _ = _compiled(w.tile)
    linear(workers(), x, rounds, weights, w.groups, offset, number, out)
    return out
