"""Two 4-bit values a byte."""

import numpy as np

from .._jit import njit
from ._common import BLOCK
from ._parallel import parallel, workers


def pack_nibbles(q):
    """4-bit values two a byte along the last axis, low nibble first, an odd end padded with 0."""
    n = q.shape[-1] if q.ndim else 1
    out = np.empty((*q.shape[:-1], -(-n // 2))[: q.ndim], np.uint8)
    if q.size:
        flat = np.asarray(q, order="C").reshape(-1).view(np.uint8)
        _pack(workers(), flat, n, out.reshape(-1))
    return out


def unpack_nibbles(packed, shape, signed):
    """The int8 or uint8 values of `pack_nibbles`, of `shape`."""
    out = np.empty(shape, np.int8 if signed else np.uint8)
    if out.size:
        flat, n = np.asarray(packed, order="C").reshape(-1), shape[-1] if shape else 1
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
