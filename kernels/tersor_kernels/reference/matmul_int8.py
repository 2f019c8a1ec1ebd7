"""Products of int8 matrices in int64, and linear layers with int8 weights in float64."""

from typing import Any, NamedTuple

import numpy as np


def matmul_int8(a, b, a_zero_point, b_zero_point, dtype, out=None):
    """(a - a_zero_point) @ (b - b_zero_point) of (..., m, k) and (..., k, n), as int32 or int64.

    Zero points are None or broadcast to (..., m, 1) and (..., 1, n).
    """
    wide = [
        x.astype(np.int64) - (0 if zero is None else zero.astype(np.int64))
        for x, zero in ((a, a_zero_point), (b, b_zero_point))
    ]
    return _written(np.matmul(*wide).astype(dtype), out)


class Packed(NamedTuple):
    """Weights (n, k) as they are."""

    data: Any
    scale: Any
    zero_point: Any
    block_size: int

    @property
    def shape(self):
        return self.data.shape

    @property
    def nbytes(self):
        return sum(part.nbytes for part in self[:3] if part is not None)


def pack(data, scale, zero_point, block_size):
    """Keep int8 or uint8 weights (n, k); scale and zero_point are (n, blocks of k), or (n, 1)."""
    return Packed(data, scale, zero_point, block_size)


def linear_int8(x, x_scale, w, bias, out=None):
    """x @ w.T + bias of (m, k) and packed weights (n, k).

    x is int8, and its rows have scales, or float with x_scale None.
    """
    dtype = x.dtype if x_scale is None else x_scale.dtype
    result = np.zeros((x.shape[0], w.shape[0]))
    with np.errstate(all="ignore"):
        for block, start in enumerate(range(0, w.shape[1], w.block_size)):
            part = slice(start, start + w.block_size)
            weights = w.data[:, part].astype(np.float64)
            if w.zero_point is not None:
                weights -= w.zero_point[:, block, None]
            result += x[:, part].astype(np.float64) @ weights.T * w.scale[:, block].astype(dtype)
        if x_scale is not None:
            result *= x_scale[:, None]
        return _written((result + (0 if bias is None else bias)).astype(dtype), out)


def _written(result, out):
    if out is None:
        return result
    out[...] = result
    return out
