"""Products of int8 matrices, exact, and linear layers with int8 weights: see `_gemm_product`."""

from functools import lru_cache
from math import prod

import numpy as np

from ._gemm_linear import Packed as Packed
from ._gemm_linear import linear_int8 as linear_int8
from ._gemm_linear import pack as pack_for
from ._gemm_linear import unpack as unpack
from ._gemm_pack import group_starts, packed_starts
from ._gemm_product import product_for
from ._gemm_tiles import tiles_for
from ._ir import features
from ._parallel import workers

TILE = tiles_for(features())[0]

_FLIPS = np.uint8(0), np.uint8(128)
_ONE = np.zeros(1, np.int64)
_SHIFTS = {shift: np.full(1, -shift, np.int32) for shift in (-128, 0, 128)}


def matmul_int8(a, b, a_zero_point, b_zero_point, dtype, out=None):
    """(a - a_zero_point) @ (b - b_zero_point) of (..., m, k) and (..., k, n), as int32 or int64.

    Zero points are None or broadcast to (..., m, 1) and (..., 1, n).
    """
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2]) if a.ndim + b.ndim > 4 else ()
    (m, k), n = a.shape[-2:], b.shape[-1]
    out = np.empty((*batch, m, n), dtype) if out is None else out
    if out.size == 0:
        return out
    if k == 0:
        out[...] = 0
        return out
    rows, columns = (*batch, m, 1), (*batch, 1, n)
    if batch and prod(b.shape[:-2]) == 1:  # the rows of all matrices a are rows of one
        columns = (*b.shape[:-2], 1, n)
        a, b, m, batch = a.reshape(-1, k), b.reshape(k, n), m * prod(batch), ()
    left, a_of, a_shift = _matrices(a, a.strides[-2:], m, batch, True)
    right, b_of, b_shift = _matrices(b, b.strides[:-3:-1], n, batch, TILE.signed)
    row_zeros, row_steps, needs_columns = _zero_points(a_zero_point, rows, a_shift, m)
    column_zeros, column_steps, needs_rows = _zero_points(b_zero_point, columns, b_shift, n)
    product_for(TILE)(
        workers(),
        left,
        right,
        _groups(TILE, k, out.dtype.itemsize),
        (row_zeros, row_steps, column_zeros, column_steps),
        (needs_columns, needs_rows),
        (a_of, b_of),
        out.reshape(-1, m, n),
    )
    return out


def _matrices(x, steps, length, batch, signed):
    """Where the matrices of `x` lie, which of them each of a batch is, and their shift.

    steps, length : bytes a row (or column) and an entry of k, and number of rows (or columns)
    Flipped to the kind that the micro-kernels want, entries and zero points are `shift` less.
    """
    flipped = (x.dtype == np.int8) != signed
    shift = 0 if not flipped else 128 if signed else -128
    offsets, of = _ONE, _ONE
    if x.ndim > 2:
        offsets = np.zeros((), np.int64)
        for count, step in zip(x.shape[:-2], x.strides[:-2], strict=True):
            offsets = offsets[..., None] + np.arange(count) * step
        of = np.broadcast_to(np.arange(offsets.size).reshape(offsets.shape), batch)
        of, offsets = np.array(of).reshape(-1), offsets.reshape(-1)
    elif batch:
        of = np.zeros(prod(batch), np.int64)
    return (offsets, id(x), length, *steps, _FLIPS[flipped]), of, shift


def _zero_points(values, shape, shift, size):
    """Zero points of entries that have `shift` taken off, their steps a matrix and an entry, and
    whether some are not 0.
    """
    if values is None:
        return _SHIFTS[shift], (0, 0), shift != 0
    if values.size == 1:
        value = int(values.reshape(())[()]) - shift
        return np.full(1, value, np.int32), (0, 0), value != 0
    zeros = np.broadcast_to(values, shape).astype(np.int32).reshape(-1) - np.int32(shift)
    return zeros, (size, 1), bool(zeros.any())


@lru_cache
def _groups(tile, k, itemsize):
    """Where groups of k begin in a matrix and in its panels; int32 wraps to the right result."""
    starts, _ = group_starts(k, k, tile.longest if itemsize > 4 else k)
    return starts, packed_starts(tile.depth, starts)


def pack(data, scale, zero_point, block_size, bits):
    """Weights (n, k) for `linear_int8`; scale and zero_point are (n, blocks of k), or (n, 1)."""
    return pack_for(data, scale, zero_point, block_size, bits, TILE)
