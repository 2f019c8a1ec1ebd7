"""The exact product of int8 matrices, block by block.

A block is some rows of A times some panels of B, a group of k at a time, into int32 of its own that
stay in cache, from where the result is written. Where one block sees all rows of A, it packs its
panels of B itself, and they stay in cache too; else all are packed first.
"""

import numpy as np

from .._jit import njit
from ._gemm_pack import (
    COLUMNS,
    block_steps,
    group_product,
    pack_block,
    pack_panels,
    padded,
    room_for,
    work_guess,
)
from ._parallel import parallel


@njit
def take_zero_points(row, zero, column_sums, column_zeros, excess):
    """row - zero * sum of b - column_zeros * `excess`, which is sum of a - k * zero."""
    for j in range(column_sums.size):
        row[j] -= zero * column_sums[j] + column_zeros[j] * excess


@njit
def _block(i, tile, a, b, matrix_of, groups, zeros, packed, out):
    starts, places = groups
    row_zeros, column_zeros, sum_rows = zeros
    panels, sums = packed
    batches, m, n = out.shape
    rows, columns = block_steps(m, n, batches)
    across, down = -(-n // columns), -(-m // rows)
    batch, i = divmod(i, across * down)
    r, c = i // across * rows, i % across * columns
    rows, columns = min(rows, m - r), min(columns, n - c)
    count = -(-columns // tile.width)
    matrix, first = matrix_of[batch], c
    if panels.size == 0:
        panels = room_for(tile, 1, columns, places[-1])
        sums = np.empty((1, starts.size - 1, count * tile.width), np.int32)
        addresses, step, k_step, flip = b
        source, to = addresses[matrix] + c * step, panels.ctypes.data
        pack_panels(tile, source, step, k_step, flip, columns, starts, places, to, sums[0])
        matrix, first = 0, 0
    addresses, step, k_step, flip = a
    apart = places[-1] * tile.width
    sums_at = count * tile.width
    work = np.empty((rows + tile.heights[0], sums_at + sum_rows * tile.width), np.int32)
    column_zero = column_zeros[batch, c : c + columns]
    for g in range(starts.size - 1):
        k = starts[g + 1] - starts[g]
        source = addresses[batch] + r * step + starts[g] * k_step
        panel = panels[matrix].ctypes.data + first * places[-1] + places[g] * tile.width
        group_product(tile, source, step, k_step, flip, rows, k, panel, apart, count, 0, work)
        column_sums = sums[matrix, g, first : first + columns]
        for j in range(rows):
            row, result = work[j], out[batch, r + j, c : c + columns]
            zero = row_zeros[batch, r + j]
            excess = np.int32(row[sums_at] - k * zero) if sum_rows else np.int32(0)
            take_zero_points(row, zero, column_sums, column_zero, excess)
            if g == 0:
                for h in range(result.size):
                    result[h] = row[h]
            else:
                for h in range(result.size):
                    result[h] += row[h]


@njit
def product(pool, tile, a, b, matrix_of, groups, zeros, out):
    """out[i] = A[i] B[matrix_of[i]], with zero points (batches, m), (batches, n) taken off."""
    batches, m, n = out.shape
    starts, places = groups
    rows, columns = block_steps(m, n, batches)
    matrices = b[0].size if rows < m else 0
    panels = room_for(tile, matrices, n, places[-1])
    sums = np.empty((matrices, starts.size - 1, padded(tile, n)), np.int32)
    if matrices > 0:
        args = (tile, b, n, groups, panels, sums)
        parallel(pool, pack_block, matrices * -(-n // COLUMNS), args, panels.size // 8)
    blocks = batches * -(-m // rows) * -(-n // columns)
    args = (tile, a, b, matrix_of, groups, zeros, (panels, sums), out)
    work = work_guess(tile.depth * tile.lanes, batches * m, n, starts[-1])
    parallel(pool, _block, blocks, args, work)
