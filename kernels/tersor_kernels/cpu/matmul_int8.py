"""Products of int8 matrices, exact, and linear layers with int8 weights: see `_gemm_product`."""

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ._gemm_int8 import Tile, host_features, tiles_for
from ._gemm_linear import linear
from ._gemm_linear import pack as pack_weights
from ._gemm_pack import Matrices, group_starts, packed_starts, padded, room_for
from ._gemm_product import product
from ._parallel import workers

TILE = tiles_for(host_features())[0]


def matmul_int8(a, b, a_zero_point, b_zero_point, dtype, out=None):
    """(a - a_zero_point) @ (b - b_zero_point) of (..., m, k) and (..., k, n), as int32 or int64.

    Zero points are None or broadcast to (..., m, 1) and (..., 1, n).
    """
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    (m, k), n = a.shape[-2:], b.shape[-1]
    out = np.empty((*batch, m, n), dtype) if out is None else out
    if out.size == 0:
        return out
    if k == 0:
        out[...] = 0
        return out
    rows, columns = (*batch, m, 1), (*batch, 1, n)
    if prod(b.shape[:-2]) == 1:  # the rows of all matrices a are rows of one
        columns = (*b.shape[:-2], 1, n)
        a, b, m, batch = a.reshape(-1, k), b.reshape(k, n), m * prod(batch), ()
    left = Matrices(a, signed=False, batch=batch)
    right = Matrices(b.swapaxes(-2, -1), signed=True, batch=b.shape[:-2])
    matrix_of = np.arange(right.count).reshape(b.shape[:-2])
    column_zeros = _zero_points(b_zero_point, columns, right.shift).reshape(-1, n)
    product(
        workers(),
        TILE,
        left.args,
        right.args,
        np.array(np.broadcast_to(matrix_of, batch)).reshape(-1) if batch else matrix_of.reshape(1),
        _groups(TILE, k, k),
        (
            _zero_points(a_zero_point, rows, left.shift).reshape(-1, m),
            column_zeros,
            bool(column_zeros.any()),
        ),
        out.reshape(-1, m, n),
    )
    return out


def _zero_points(values, shape, shift):
    """Zero points of `shape` of entries that have `shift` taken off."""
    if values is None:
        return np.full(shape, -shift, np.int32)
    return np.broadcast_to(values, shape).astype(np.int32) - shift


@lru_cache
def _groups(tile, k, block_size):
    """Where groups of k begin in a matrix and in its panels."""
    starts = group_starts(k, block_size)
    return starts, packed_starts(tile, starts)


class Packed(NamedTuple):
    """Weights (n, k) in the order in which the micro-kernels read them.

    panels : uint8 (1, bytes)
    sums, scale, zero_point : (groups of k, columns in whole panels)
    groups : where they begin in k and in a panel
    """

    tile: Tile
    shape: tuple[int, int]
    panels: Any
    sums: Any
    scale: Any
    zero_point: Any
    groups: Any

    @property
    def nbytes(self):
        return sum(part.nbytes for part in self[2:6])


def pack(data, scale, zero_point, block_size):
    """Pack int8 or uint8 weights (n, k); scale and zero_point are (n, blocks of k), or (n, 1).

    A block longer than a group becomes several groups, with the same scale.
    """
    n, k = data.shape
    groups = starts, _ = _groups(TILE, k, block_size)
    source = Matrices(data, signed=True)
    panels = room_for.py_func(TILE, 1, n, groups[1][-1])  # as merge_moments, it returns an array
    sums = np.empty((1, starts.size - 1, padded(TILE, n)), np.int32)
    pack_weights(workers(), TILE, source.args, n, groups, panels, sums)
    block_of = starts[:-1] // block_size

    def by_group(values, dtype):
        table = np.zeros(sums.shape[1:], dtype)
        table[:, :n] = values.T[block_of]
        return table

    zeros = np.zeros(scale.shape, np.int32) if zero_point is None else zero_point
    zeros = by_group(zeros - source.shift, np.int32)
    return Packed(TILE, (n, k), panels, sums[0], by_group(scale, scale.dtype), zeros, groups)


def linear_int8(x, x_scale, w, bias, out=None):
    """x @ w.T + bias of (m, k) and packed weights (n, k).

    x is int8, and its rows have scales, or float with x_scale None, and weights become floats on
    the way. Computed in the dtype of the scales of x, or of x.
    """
    m, n = x.shape[0], w.shape[0]
    dtype = x.dtype if x_scale is None else x_scale.dtype
    out = np.empty((m, n), dtype) if out is None else out
    bias = np.zeros(n, dtype) if bias is None else np.array(bias, dtype)
    if out.size == 0 or x.shape[1] == 0:
        out[...] = bias
        return out
    if x_scale is None:
        rows = np.array([x.__array_interface__["data"][0]]), *x.strides, np.uint8(0)
        x_scale, like = np.ones(m, dtype), np.empty(0, dtype)
    else:
        rows, like = Matrices(x, signed=False).args, np.empty(0, np.int32)
    sum_rows = like.dtype == np.int32 and bool(w.zero_point.any())
    scale = w.scale.astype(dtype, copy=False)
    weights = w.panels, w.sums, scale, w.zero_point, sum_rows
    linear(workers(), w.tile, rows, x_scale, w.groups, weights, bias, like, out)
    return out
