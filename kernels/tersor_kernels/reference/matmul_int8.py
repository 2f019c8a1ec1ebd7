"""Products of int8 matrices in int64, and linear layers with int8 weights in float64."""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr

from .quantize import quantize_absmax


def matmul_int8(a, b, a_zero_point, b_zero_point, dtype, out=None):
    """(a - a_zero_point) @ (b - b_zero_point) of (..., m, k) and (..., k, n), as int32 or int64.

    Zero points are None or broadcast to (..., m, 1) and (..., 1, n).
    """
    wide = [
        x.astype(np.int64) - (0 if zero is None else zero.astype(np.int64))
        for x, zero in ((a, a_zero_point), (b, b_zero_point))
    ]
    return _written(np.matmul(*wide), out, dtype)


class Packed(NamedTuple):
    """Weights (n, k) as they are."""

    data: Any
    scale: Any
    zero_point: Any
    block_size: int
    bits: int

    @property
    def shape(self):
        return self.data.shape

    @property
    def nbytes(self):
        return self.data.nbytes * self.bits // 8 + sum(x.nbytes for x in self[1:3] if x is not None)


def pack(data, scale, zero_point, block_size, bits):
    """Keep int8 or uint8 weights (n, k); scale and zero_point are (n, blocks of k), or (n, 1)."""
    data, scale = data.copy(), scale.copy()
    return Packed(data, scale, None if zero_point is None else zero_point.copy(), block_size, bits)


def unpack(w):
    """What `pack` took: weights (n, k) as bytes, scale and zero_point (n, blocks of k)."""
    return w.data.view(np.uint8), w.scale, w.zero_point


def linear_int8(x, w, bias, rounds, function, out=None):
    """function(x @ w.T + bias) of (m, k) float32 or float64 and packed weights (n, k).

    With `rounds` rows of x are rounded to int8.
    """
    dtype = x.dtype
    with np.errstate(all="ignore"):
        if rounds:
            finite = np.isfinite(x).all(axis=1)
            x, x_scale, _ = quantize_absmax(x, 0, None, np.int8, -127, 127)
            x_scale[~finite] = np.nan
        result = np.zeros((x.shape[0], w.shape[0]))
        for block, start in enumerate(range(0, w.shape[1], w.block_size)):
            part = slice(start, start + w.block_size)
            weights = w.data[:, part].astype(np.float64)
            if w.zero_point is not None:
                weights -= w.zero_point[:, block, None]
            weights *= w.scale[:, block, None].astype(dtype)
            result += x[:, part].astype(np.float64) @ weights.T
        if rounds:
            result *= x_scale[:, None]
        return _written(_FUNCTIONS[function](result + (0 if bias is None else bias)), out, dtype)


def _silu(y):
    return y / (1 + np.exp(-y))


def _gelu(y):
    return y * ndtr(y)


_FUNCTIONS = {None: lambda y: y, "relu": lambda y: np.maximum(y, 0), "gelu": _gelu, "silu": _silu}


def _written(result, out, dtype):
    if out is None:
        return result.astype(dtype, copy=False)
    out[...] = result
    return out
