"""The exact product of int8 matrices, block by block.

The panels of A are packed first. A block is some rows of them times some columns of B, a group of k
at a time, into sums of its own that stay in cache, from where the result is written. Where one
block sees all rows of A, it packs B itself, a strip at a time that stays in the first caches; else
all panels of B are packed before too.
"""

from functools import cache

import numpy as np

from .._jit import njit
from ._gemm_int8 import multiply, take_zero_points
from ._gemm_pack import (
    add_column_sums,
    aligned,
    block_steps,
    height_index,
    ones_for,
    pack_rows,
    pack_strip,
    padded,
    work_guess,
)
from ._native import array_at, data_of
from ._parallel import parallel

_STRIP = 65536  # bytes of B that are packed at a time
_DEPTH = 8192  # entries of k in a panel that is in work
COLUMNS = 512  # that are packed by one block


@njit
def multiply_panel(tile, index, a, b, words, add, out):
    """`multiply` for a height known at run time."""
    if index == 0:
        multiply(tile, 0, a, b, words, add, out)
    elif index == 1:
        multiply(tile, 1, a, b, words, add, out)
    elif index == 2:
        multiply(tile, 2, a, b, words, add, out)
    else:
        multiply(tile, 3, a, b, words, add, out)


@njit
def _pack_block(i, tile, source, groups, wants_sums, panels, sums):
    """Panels of COLUMNS columns of one of the matrices B; sums of columns (matrices, groups, n)."""
    starts, places = groups
    offsets, base, n, step, k_step, flip = source
    matrix, first = divmod(i, -(-n // COLUMNS))
    first *= COLUMNS
    columns = min(COLUMNS, n - first)
    depth = places[-1]
    to = panels.ctypes.data + (matrix * padded(tile, n) + first) * depth
    b = base + offsets[matrix] + first * step
    ones = ones_for(tile, 64 // tile.depth)
    for g in range(starts.size - 1):
        for k in range(starts[g], starts[g + 1], 64):
            part = min(64, starts[g + 1] - k)
            place = to + (places[g] + k - starts[g]) * tile.width
            pack_strip(
                tile, b + k * k_step, step, k_step, columns, part, flip, place, depth * tile.width
            )
            if wants_sums:
                for p in range(-(-columns // tile.width)):
                    out = sums[matrix, g, first + p * tile.width :].ctypes.data
                    panel = place + p * depth * tile.width
                    words = -(-part // tile.depth)
                    add_column_sums(tile, panel, words, ones, k > starts[g], out)


@njit
def add_row(row, add, out):
    """out = row, or out += row."""
    for j in range(out.size):
        out[j] = row[j] + (out[j] if add else 0)


@njit
def _write_panel(tile, sums, rows, first, columns, corrections, add, out):
    """Sums of a panel of A and one of B, zero points taken off, to rows from `first` on of out.

    columns : (c, count), where they are in out
    corrections : sums and zero points of columns, zero points of rows, what those of columns take
    """
    c, count = columns
    column_sums, column_zeros, zeros, excess = corrections
    is_direct = count == tile.width and out.itemsize == 4
    result = out[first : first + rows, c : c + count]
    to, step = sums, 4 * tile.width
    if is_direct:
        to, step = result.ctypes.data, result.strides[0]
    zero, more = zeros[first:].ctypes.data, excess[first:].ctypes.data
    take_zero_points(tile, rows, sums, zero, column_sums, more, column_zeros, to, step)
    if not is_direct:
        for i in range(rows):
            row = array_at(sums + 4 * tile.width * i, np.int32)[:count]
            add_row(row, add, result[i])


@njit
def _block(i, tile, a, b, groups, zeros, flags, of, out):
    starts, places = groups
    panels_a, row_sums = a
    (offsets, base, _, step, k_step, flip), panels_b, packed_sums = b
    row_zeros, row_steps, column_zeros, column_steps = zeros
    wants_columns, wants_rows = flags
    a_of, b_of = of
    batches, m, n = out.shape
    tall, width, depth = tile.heights[0], tile.width, tile.depth
    rows, columns = block_steps(tile, m, n, places[-1], batches)
    across, down = -(-n // columns), -(-m // rows)
    batch, i = divmod(i, across * down)
    r, c = i // across * rows, i % across * columns
    rows, columns = min(rows, m - r), min(columns, n - c)
    count, heights = -(-columns // width), -(-rows // tall)
    is_packed = panels_b.size > 0
    strip = _DEPTH
    room = aligned(0)
    if not is_packed:
        strip = _STRIP // (count * width) // 64 * 64
        room = aligned(count * width * strip)
    ones = ones_for(tile, strip // depth)
    in_one = strip >= starts[-1]  # then each tile is written at once
    tiles = aligned(4 * width * tall * (1 if in_one else heights * count))
    sums, zeros_here = np.zeros(count * width, np.int32), np.zeros(count * width, np.int32)
    for j in range(columns):
        zeros_here[j] = column_zeros[batch * column_steps[0] + (c + j) * column_steps[1]]
    mine, excess = np.empty(rows, np.int32), np.zeros(rows, np.int32)
    for j in range(rows):
        mine[j] = row_zeros[batch * row_steps[0] + (r + j) * row_steps[1]]
    step_a = 4 * (places[-1] // depth)  # bytes a row
    panel_a = panels_a.ctypes.data + (a_of[batch] * -(-m // tall) * tall + r) * step_a
    panel_b = panels_b.ctypes.data + (b_of[batch] * padded(tile, n) + c) * places[-1]
    source = base + offsets[b_of[batch]] + c * step
    result = out[batch, r : r + rows]
    for g in range(starts.size - 1):
        size = starts[g + 1] - starts[g]
        for j in range(columns if is_packed and wants_columns else 0):
            sums[j] = packed_sums[b_of[batch], g, c + j]
        for j in range(rows if wants_rows else 0):
            excess[j] = row_sums[a_of[batch], g, r + j] - size * mine[j]
        for k in range(0, size, strip):
            part = min(strip, size - k)
            words, place = -(-part // depth), places[g] + k
            if is_packed:
                strip_b, apart = panel_b + place * width, places[-1] * width
            else:
                strip_b, apart = room.ctypes.data, strip * width
                here = source + (starts[g] + k) * k_step
                pack_strip(tile, here, step, k_step, columns, part, flip, strip_b, apart)
            for p in range(count):
                b_now = strip_b + p * apart
                sums_now = sums.ctypes.data + 4 * p * width
                zeros_now = zeros_here.ctypes.data + 4 * p * width
                if wants_columns and not is_packed:
                    add_column_sums(tile, b_now, words, ones, k > 0, sums_now)
                here = (c + p * width, min(width, columns - p * width))
                for h in range(heights):
                    index = height_index(tile, rows - h * tall)
                    a_now = panel_a + h * tall * step_a
                    a_now += place // depth * 4 * tile.heights[index]
                    number = 0 if in_one else p * heights + h
                    total = tiles.ctypes.data + 4 * width * tall * number
                    multiply_panel(tile, index, a_now, b_now, words, k > 0, total)
                    if k + strip >= size:
                        some = min(tall, rows - h * tall)
                        off = (sums_now, zeros_now, mine, excess)
                        _write_panel(tile, total, some, h * tall, here, off, g > 0, result)


@njit
def _with_address(source):
    offsets, array, length, step, k_step, flip = source
    return offsets, data_of(array), length, step, k_step, flip


@njit
def _product(tile, pool, a, b, groups, zeros, flags, of, out):
    a, b = _with_address(a), _with_address(b)
    batches, m, n = out.shape
    starts, places = groups
    tall, depth, k = tile.heights[0], places[-1], starts[-1]
    rows, columns = block_steps(tile, m, n, depth, batches)
    matrices = a[0].size
    panels_a = aligned(matrices * -(-m // tall) * tall * (4 * (depth // tile.depth)))
    row_sums = np.empty((matrices if flags[1] else 0, starts.size - 1, m), np.int32)
    args = (tile, a, groups, panels_a.ctypes.data, row_sums)
    parallel(pool, pack_rows, matrices * -(-m // tall), args, matrices * m * k // 4)
    matrices = b[0].size if rows < m else 0
    panels_b = (
        aligned(matrices * padded(tile, n) * depth) if matrices > 0 else np.empty(0, np.uint8)
    )
    sums = np.empty((matrices, starts.size - 1, padded(tile, n)), np.int32)
    if matrices > 0:
        args = (tile, b, groups, flags[0], panels_b, sums)
        parallel(pool, _pack_block, matrices * -(-n // COLUMNS), args, panels_b.size // 8)
    blocks = batches * -(-m // rows) * -(-n // columns)
    args = (tile, (panels_a, row_sums), (b, panels_b, sums), groups, zeros, flags, of, out)
    work = work_guess(tile.depth * tile.lanes, batches * m, n, k)
    parallel(pool, _block, blocks, args, work)


@cache
def product_for(tile):
    """The compiled product; `tile` is in it, as Numba takes microseconds for such an argument."""

    @njit
    def product(pool, a, b, groups, zeros, flags, of, out):
        """out[i] = A[a_of[i]] B[b_of[i]], zero points taken off.

        a, b : offsets of matrices, id() of the array, rows or columns, step, k_step, flip
        zeros : of rows, (steps a batch and a row), of columns, (steps a batch and a column)
        flags : whether sums of columns and of rows are needed
        """
        _product(tile, pool, a, b, groups, zeros, flags, of, out)

    return product
