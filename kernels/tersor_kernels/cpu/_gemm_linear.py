"""Linear layers with packed int8 weights: blocks as in `_gemm_product`, scales in the epilogue."""

import numpy as np

from .._jit import njit
from ._gemm_pack import COLUMNS, block_steps, group_product, pack_block, work_guess
from ._gemm_product import take_zero_points
from ._parallel import parallel


@njit
def pack(pool, tile, source, n, groups, panels, sums):
    """Fill panels (1, bytes) and sums (1, groups, n in whole panels) with weights (n, k)."""
    args = (tile, source, n, groups, panels, sums)
    parallel(pool, pack_block, -(-n // COLUMNS), args, panels.size // 8)


@njit
def _add_scaled(row, scale, first, out):
    dtype = out.dtype.type
    if first:
        for j in range(out.size):
            out[j] = dtype(row[j]) * scale[j]
    else:
        for j in range(out.size):
            out[j] += dtype(row[j]) * scale[j]


@njit
def _finish(out, x_scale, bias):
    for j in range(out.size):
        out[j] = out[j] * x_scale + bias[j]


@njit
def _block(i, tile, x, x_scale, groups, weights, bias, like, out):
    starts, places = groups
    panels, sums, scale, zeros, sum_rows = weights
    addresses, step, k_step, flip = x
    m, n = out.shape
    rows, columns = block_steps(m, n, 1)
    across = -(-n // columns)
    r, c = i // across * rows, i % across * columns
    rows, end = min(rows, m - r), min(n, c + columns)
    count = -(-(end - c) // tile.width)
    apart = places[-1] * tile.width
    sums_at = count * tile.width
    work = np.empty((rows + tile.heights[0], sums_at + sum_rows * tile.width), like.dtype)
    for g in range(starts.size - 1):
        k = starts[g + 1] - starts[g]
        source = addresses[0] + r * step + starts[g] * k_step
        panel = panels.ctypes.data + c * places[-1] + places[g] * tile.width
        zero = zeros[g, c:].ctypes.data
        group_product(tile, source, step, k_step, flip, rows, k, panel, apart, count, zero, work)
        for j in range(rows):
            row = work[j]
            if flip != 0:  # int8 made unsigned: its zero point is 128
                excess = np.int32(row[sums_at] - k * 128) if sum_rows else np.int32(0)
                take_zero_points(row, np.int32(128), sums[g, c:end], zeros[g, c:end], excess)
            _add_scaled(row, scale[g, c:end], g == 0, out[r + j, c:end])
    for j in range(rows):
        _finish(out[r + j, c:end], x_scale[r + j], bias[c:end])


@njit
def linear(pool, tile, x, x_scale, groups, weights, bias, like, out):
    """out = x_scale * sum over groups of (scale * x w.T) + bias, summed in the dtype of `like`.

    weights : panels, sums, scale, zero points (groups, n), and whether sums of rows are needed.
    """
    m, n = out.shape
    rows, columns = block_steps(m, n, 1)
    blocks = -(-m // rows) * -(-n // columns)
    args = (tile, x, x_scale, groups, weights, bias, like, out)
    # int8 words hold `depth` products
    rate = tile.lanes * (tile.depth if x[3] != 0 else 1)
    parallel(pool, _block, blocks, args, work_guess(rate, m, n, groups[0][-1]))
