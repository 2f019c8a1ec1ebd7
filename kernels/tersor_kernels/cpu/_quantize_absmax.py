"""Quantization by scales that are found on the way: the largest magnitude over the largest integer.

Where a run of entries has a scale of its own, it is in cache when it is read a second time.
"""

import numpy as np

from .._jit import njit
from ._common import BLOCK
from ._extremes import absmax_run
from ._native import array_at, data_of
from ._parallel import parallel
from ._quantize_runs import quantize_piece, quantize_slowly
from ._rounding import can_multiply, reciprocal

_GROUP = 2048  # entries: runs that are read again while the first cache has them


@njit(forceinline=True)
def _scale(absmax, high, tiny, inf):
    """As `absmax_scale` of the reference."""
    zero = absmax - absmax
    s = absmax / high
    if s < tiny and s * high < absmax:
        s = np.nextafter(s, inf)
    elif s * high == inf and absmax < inf:
        s = np.nextafter(s, zero)
    return s if absmax > 0 else type(high)(1)


@njit
def _absmax_block(b, keys, n, infinity, largest):
    largest[b] = absmax_run(keys[b * BLOCK : min(n, (b + 1) * BLOCK)], infinity)


@njit
def scale_of_all(pool, x, n, infinity, high, tiny, inf):
    """The scale of all `n` entries of an array given by its id(); inf where one is infinite.

    infinity : the bits of inf as an integer
    """
    keys = array_at(data_of(x), type(infinity))
    parts = np.empty((n + BLOCK - 1) // BLOCK, type(high))
    parallel(pool, _absmax_block, parts.size, (keys, n, infinity, parts), n // 20)
    largest = type(high)(0)
    for b in range(parts.size):
        largest = max(largest, parts[b])
    return _scale(largest, high, tiny, inf)


@njit
def _runs_block(b, x, keys, limits, infinity, n, size, count, scale, out, nans):
    step, per_row = max(1, BLOCK // size), -(-n // size)
    first, last = b * step, min(count, (b + 1) * step)
    low, high, tiny, inf = limits
    zero, failed = type(high)(0), False
    group = max(1, _GROUP // size)
    inverses, rests = np.empty(group, x.dtype), np.empty(group, x.dtype)
    begins, ends = np.empty(group, np.int64), np.empty(group, np.int64)
    row, j = first // per_row, first % per_row
    for start in range(first, last, group):
        scales = scale[start : min(start + group, last)]
        for run in range(scales.size):
            p, q = row * n + j * size, row * n + min(n, (j + 1) * size)
            row, j = (row, j + 1) if j + 1 < per_row else (row + 1, 0)
            begins[run], ends[run] = p, q
            scales[run] = absmax_run(keys[p:q], infinity)
        for run in range(scales.size):
            s = _scale(scales[run], high, tiny, inf)
            scales[run] = s
            inverses[run], rests[run] = reciprocal(s)
            failed |= not can_multiply(s)
        for run in range(scales.size):
            p, q = begins[run], ends[run]
            s, inverse, rest = scales[run], inverses[run], rests[run]
            failed |= quantize_piece(x[p:q], s, inverse, rest, zero, low, high, out[p:q])
    if failed:
        for run in range(first, last):
            row, j = run // per_row, run % per_row
            p, q = row * n + j * size, row * n + min(n, (j + 1) * size)
            nans[b] += quantize_slowly(x[p:q], scale[run], zero, low, high, out[p:q])


@njit
def quantize_runs(pool, x, low, high, tiny, inf, infinity, n, size, count, scale, out):
    """Rows of `n` entries, `size` of them in a run with a scale of its own, `count` runs in all.

    The arrays are given by their id(); returns the number of NaN. infinity : as of `scale_of_all`
    """
    kind = type(tiny)
    keys, x = array_at(data_of(x), type(infinity)), array_at(data_of(x), kind)
    scale, out = array_at(data_of(scale), kind), array_at(data_of(out), np.uint8)
    step, limits = max(1, BLOCK // size), (kind(low), kind(high), tiny, inf)
    nans, found = np.zeros((count + step - 1) // step, np.int64), 0
    args = (x, keys, limits, infinity, n, size, count, scale, out, nans)
    parallel(pool, _runs_block, nans.size, args, count * min(n, size) // 5)
    for b in range(nans.size):
        found += nans[b]
    return found
