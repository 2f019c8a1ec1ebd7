"""The inner loops of quantization: entries that lie side by side, under one scale or a row of them.

All are inlined: a slice handed to another function has its references counted, which costs more
than 100 entries. A piece is so short that what is fetched ahead is still there when it is read.
"""

import numpy as np

from .._jit import njit
from ._native import prefetch
from ._rounding import can_multiply, clipped, low_bits, quotient, reciprocal

PIECE = 256  # entries
# Bytes: 30 % faster from memory than the CPU's own prefetching (8192; 4096 and 16384: 20-25 %).
_AHEAD = 8192


@njit(forceinline=True)
def fetch_ahead(x):
    start = x.ctypes.data + _AHEAD
    for line in range((x.size * x.itemsize) >> 6):
        prefetch(start + 64 * line)


@njit(forceinline=True)
def quantize_run(x, scale, zero, low, high, out):
    """One scale for all of `x`. True if the results are wrong: of NaN, and of extreme scales."""
    inverse, rest = reciprocal(scale)
    failed = not can_multiply(scale)
    for p in range(0, x.size, PIECE):
        part, result = x[p : p + PIECE], out[p : p + PIECE]
        fetch_ahead(part)
        failed |= quantize_piece(part, scale, inverse, rest, zero, low, high, result)
    return failed


@njit(forceinline=True)
def quantize_piece(x, scale, inverse, rest, zero, low, high, out):
    """`quantize_run` given the reciprocal of the scale, a safe one."""
    # Beyond these the answer is low or high, and up to them rounding can not pass those.
    least, most = (low - zero) * scale, (high - zero) * scale
    shift, has_nan = np.int32(zero), False
    for i in range(x.size):
        v = x[i]
        has_nan |= v != v
        v = least if v < least else v
        v = most if v > most else v
        out[i] = low_bits(quotient(v, scale, inverse, rest)) + shift
    return has_nan


@njit(forceinline=True)
def quantize_slowly(x, scale, zero, low, high, out):
    """Any scale, any `x`; returns the number of NaN."""
    nans = np.int32(0)
    for i in range(x.size):
        out[i] = np.int32(clipped(np.rint(x[i] / scale) + zero, zero, low, high))
        nans = np.int32(nans + np.int32(x[i] != x[i]))
    return nans


@njit(forceinline=True)
def quantize_row(x, scale, zero, low, high, out):
    """A scale for each entry of `x`; returns the number of NaN."""
    nans = np.int32(0)
    for p in range(0, x.size, PIECE):
        part, scales, zeros = x[p : p + PIECE], scale[p : p + PIECE], zero[p : p + PIECE]
        fetch_ahead(part)
        result = out[p : p + PIECE]
        for i in range(part.size):
            v = np.rint(part[i] / scales[i]) + zeros[i]
            result[i] = np.int32(clipped(v, zeros[i], low, high))
            nans = np.int32(nans + np.int32(part[i] != part[i]))
    return nans


@njit(forceinline=True)
def fake_run(x, scale, zero, low, high, values, mask):
    """What `quantize_run` and `dequantize_run` make of `x`, and where it was in range."""
    if not can_multiply(scale):
        for i in range(x.size):
            v = np.rint(x[i] / scale) + zero
            mask[i] = v >= low and v <= high
            values[i] = (clipped(v, zero, low, high) - zero) * scale
        return
    one = type(scale)(1)
    inverse, rest = reciprocal(scale)
    least, most = (low - zero - one) * scale, (high - zero + one) * scale
    for i in range(x.size):
        v = x[i]
        v = least if v < least else v
        v = most if v > most else v
        v = np.rint(quotient(v, scale, inverse, rest)) + zero
        mask[i] = v >= low and v <= high
        values[i] = (clipped(v, zero, low, high) - zero) * scale


@njit(forceinline=True)
def fake_row(x, scale, zero, low, high, values, mask):
    """`fake_run` with a scale for each entry of `x`."""
    for i in range(x.size):
        v = np.rint(x[i] / scale[i]) + zero[i]
        mask[i] = v >= low and v <= high
        values[i] = (clipped(v, zero[i], low, high) - zero[i]) * scale[i]


@njit(forceinline=True)
def dequantize_run(q, scale, zero, out):
    for i in range(q.size):
        out[i] = (type(scale)(q[i]) - zero) * scale


@njit(forceinline=True)
def dequantize_row(q, scale, zero, out):
    for i in range(q.size):
        out[i] = (scale.dtype.type(q[i]) - zero[i]) * scale[i]
