"""From integers to floats: dequantization, and quantization there and back."""

import numpy as np

from .._jit import njit
from ._common import BLOCK
from ._layout import Layout, after, place, segment
from ._native import alive, array_at, data_of
from ._parallel import parallel
from ._philox import fill_words
from ._quantize_runs import dequantize_row, dequantize_run, fake_row, fake_run
from ._rounding import DIVIDE, STOCHASTIC, clipped, round_scaled
from ._stream import ahead_of_line, on_line, stream

_ROOM = 2048  # entries written to the first cache, and from there past the others


@njit
def _fake_run_as(order, words, x, scale, zero, limits, values, mask):
    low, high = limits
    for i in range(x.size):
        k = i if scale.size > 1 else 0
        word = words[i] if words.size else np.uint32(0)
        v = round_scaled(x[i], scale[k], zero[k], order, word)
        mask[i] = v >= low and v <= high
        v = clipped(v, zero[k], low, high) + (low - low)  # an integer has no -0.0
        values[i] = (v - zero[k]) * scale[k]


@njit
def _fake_block(b, x, scale, zero, layout, limits, order, seed, starts, values, mask):
    start, end = b * BLOCK, min(x.size, (b + 1) * BLOCK)
    words = np.empty(end - start if order == STOCHASTIC else 0, np.uint32)
    fill_words(seed, start, starts, x.size // starts.size, words)
    low, high = limits
    p = start
    row, j = place(p, layout)
    while p < end:
        q, s, count = segment(p, end, row, j, layout)
        if order == DIVIDE and not layout.rows:
            fake_run(x[p:q], scale[s], zero[s], low, high, values[p:q], mask[p:q])
        elif order == DIVIDE:
            scales, zeros = scale[s : s + count], zero[s : s + count]
            fake_row(x[p:q], scales, zeros, low, high, values[p:q], mask[p:q])
        else:
            scales, zeros = scale[s : s + count], zero[s : s + count]
            part = words[p - start : q - start]
            _fake_run_as(order, part, x[p:q], scales, zeros, limits, values[p:q], mask[p:q])
        p = q
        row, j = after(row, j, layout)


@njit
def fake_quantize(pool, x, scale, zero, layout, limits, order, seed, starts, values, mask):
    args = (x, scale, zero, layout, limits, order, seed, starts, values, mask)
    parallel(pool, _fake_block, -(-x.size // BLOCK), args, x.size // 4)


@njit(forceinline=True)
def _dequantize(p, end, q, scale, zero, layout, out):
    """Entries p..end-1 to `out`, which begins with entry p."""
    start = p
    row, j = place(p, layout)
    while p < end:
        t, s, count = segment(p, end, row, j, layout)
        result = out[p - start : t - start]
        if layout.rows:
            dequantize_row(q[p:t], scale[s : s + count], zero[s : s + count], result)
        else:
            dequantize_run(q[p:t], scale[s], zero[s], result)
        p = t
        row, j = after(row, j, layout)


@njit
def _dequantize_block(b, n, q, scale, zero, layout, past_caches, out):
    start, end = b * BLOCK, min(n, (b + 1) * BLOCK)
    first = stop = end  # to be written past the caches
    memory = np.empty(_ROOM * out.itemsize + 64 if past_caches else 0, np.uint8)
    if past_caches:
        first = stop = min(end, start + ahead_of_line(out[start:end]) // out.itemsize)
    room = on_line(memory, out.dtype)
    while start < end:
        result = out[start:stop]
        target = room[: stop - start] if start >= first else result
        _dequantize(start, stop, q, scale, zero, layout, target)
        if start >= first:
            stream(result.ctypes.data, target.ctypes.data, result.size * out.itemsize)
        start, stop = stop, min(end, stop + _ROOM)
    alive(memory)


@njit
def dequantize(pool, q, size, scale, zero, rows, n, group, run, past_caches, integer, kind, out):
    """Layout(rows, n, group, run) of all `size` entries.

    The arrays are given by their id(): q of the dtype of `integer`, the others of that of `kind`.
    (References to slices of arrays would be counted with locked instructions, and each of those
    waits for what is on its way past the caches.)
    """
    q, out = array_at(data_of(q), type(integer)), array_at(data_of(out), type(kind))
    scale, zero = array_at(data_of(scale), type(kind)), array_at(data_of(zero), type(kind))
    args = (size, q, scale, zero, Layout(rows, n, group, run), past_caches, out)
    parallel(pool, _dequantize_block, (size + BLOCK - 1) // BLOCK, args, size // 16)
