"""Least and largest entries of all that share a scale.

Floats are compared as integers in their own order: LLVM vectorizes that without flags that would
let it assume there is no NaN. Above +inf and below -inf in that order lie the NaN.
"""

from math import prod

import numpy as np
from numba import types
from numba.extending import overload

from .._jit import njit
from ._common import BLOCK, widened
from ._layout import layout_of, shape_of_scales
from ._native import array_at, data_of
from ._parallel import parallel, workers
from ._quantize_runs import PIECE, fetch_ahead

INFINITY = {
    np.dtype(f): f(np.inf).view(i) for f, i in ((np.float32, "i4"), (np.float64, "i8"))
}  # its bits
_COLUMNS = 1024  # two accumulators of so many entries stay in the first cache


def min_max(x, axis, block_size):
    """Least and largest entry of all that share a scale (0 where there is none), number of NaN."""
    x = np.asarray(widened(x), order="C")
    infinity = INFINITY[x.dtype]
    if axis is None:
        low, high, nans = _min_max_all(workers(), id(x), x.size, infinity)
        return np.array(low, x.dtype), np.array(high, x.dtype), nans
    shape = shape_of_scales(x.shape, axis, block_size)
    if x.size == 0:
        return np.zeros(shape, x.dtype), np.zeros(shape, x.dtype), 0
    rows, n, group, size = layout_of(x.shape, axis, block_size)
    integer = infinity.dtype
    keys = x.reshape(-1).view(integer)
    # What shares a scale is cut where it is large, and the pieces are folded below.
    pieces = 1
    if rows:
        if block_size is None:
            size = min(size, max(64, BLOCK // n))
        extremes = np.empty((2, x.size // (n * group) * -(-group // size), n), integer)
        nans = np.zeros(extremes.shape[1] * -(-n // _COLUMNS), np.int64)
        _min_max_rows(workers(), keys, infinity, n, group, size, *extremes, nans)
    else:
        if block_size is None:
            size = min(size, 2 * BLOCK)
            pieces = -(-n // size)
        extremes = np.empty((2, x.size // n * -(-n // size)), integer)
        nans = np.zeros(-(-extremes.shape[1] // max(1, BLOCK // size)), np.int64)
        _min_max_runs(workers(), keys, infinity, n, size, *extremes, nans)
    extremes = extremes.reshape(2, -1, prod(shape), pieces)
    low = _floats(extremes[0].min(axis=(0, 2)).reshape(shape), x.dtype)
    high = _floats(extremes[1].max(axis=(0, 2)).reshape(shape), x.dtype)
    return low, high, int(nans.sum())


def _floats(keys, dtype):
    """The floats of ordered keys, 0 for NaN."""
    shift, magnitude = keys.dtype.type(keys.itemsize * 8 - 1), np.iinfo(keys.dtype).max
    floats = np.asarray(keys ^ (keys >> shift & magnitude)).view(dtype)
    return np.where(np.isnan(floats), dtype.type(0), floats)


@njit(forceinline=True)
def _magnitude(keys):
    """All bits but the sign: the largest key, which is a NaN, as is its complement, the least."""
    integer = keys.dtype.type
    return integer(~(integer(1) << integer(8 * keys.itemsize - 1)))


@njit(forceinline=True)
def _ordered(bits, magnitude):
    """The bits of a float as an integer in the order of the floats."""
    integer = type(magnitude)
    return integer(bits ^ magnitude) if bits < 0 else integer(bits)


# As signed integers, the bits of floats that are not negative lie above the others and in order,
# those of negative floats in reverse order; as unsigned integers, the negative ones lie above.
@njit(forceinline=True)
def _min_max_run(keys, infinity):
    """Ordered keys of the least and the largest entry of some, and the number of NaN."""
    integer = keys.dtype.type
    magnitude = _magnitude(keys)
    sign = integer(~magnitude)
    least, most, last = magnitude, sign, sign  # as signed, and as unsigned integers
    for p in range(0, keys.size, PIECE):
        part = keys[p : p + PIECE]
        fetch_ahead(part)
        for i in range(part.size):
            key, flipped = part[i], integer(part[i] ^ sign)
            least = key if key < least else least
            most = key if key > most else most
            last = flipped if flipped > last else last
    last = integer(last ^ sign)
    if most <= infinity and (last >= 0 or integer(last & magnitude) <= infinity):
        low = _ordered(last if last < 0 else least, magnitude)
        return low, _ordered(most if most >= 0 else least, magnitude), 0
    low, high, nans = magnitude, sign, 0
    for i in range(keys.size):
        key = _ordered(keys[i], magnitude)
        nan = key > infinity or key < integer(~infinity)
        up = sign if nan else key
        down = magnitude if nan else key
        high = up if up > high else high
        low = down if down < low else low
        nans += nan
    return low, high, nans


@njit
def _min_max_all_block(b, keys, n, infinity, low, high, nans):
    low[b], high[b], nans[b] = _min_max_run(keys[b * BLOCK : min(n, (b + 1) * BLOCK)], infinity)


@njit
def _min_max_all(pool, x, n, infinity):
    """`min_max` of all `n` entries of an array given by its id(), as numbers."""
    integer, blocks = type(infinity), (n + BLOCK - 1) // BLOCK
    keys = array_at(data_of(x), integer)
    lows, highs = np.empty(blocks, integer), np.empty(blocks, integer)
    nans, count = np.empty(blocks, np.int64), 0
    parallel(pool, _min_max_all_block, blocks, (keys, n, infinity, lows, highs, nans), n // 10)
    magnitude = _magnitude(keys)
    low, high = magnitude, integer(~magnitude)
    for b in range(blocks):
        low, high, count = min(low, lows[b]), max(high, highs[b]), count + nans[b]
    return _float_of_key(low, magnitude), _float_of_key(high, magnitude), count


@njit(forceinline=True)
def _float_of_key(key, magnitude):
    """The float of an ordered key, 0 for NaN."""
    v = _float_of(type(magnitude)(key ^ magnitude if key < 0 else key))
    return v if v == v else type(v)(0)


@njit
def _min_max_runs_block(b, keys, infinity, n, size, low, high, nans):
    step = max(1, BLOCK // size)
    per_row = -(-n // size)
    row, j = b * step // per_row, b * step % per_row
    for run in range(b * step, min(low.size, (b + 1) * step)):
        start, end = row * n + j * size, row * n + min(n, (j + 1) * size)
        row, j = (row, j + 1) if j + 1 < per_row else (row + 1, 0)
        low[run], high[run], found = _min_max_run(keys[start:end], infinity)
        nans[b] += found


@njit
def _min_max_runs(pool, keys, infinity, n, size, low, high, nans):
    args = (keys, infinity, n, size, low, high, nans)
    parallel(pool, _min_max_runs_block, nans.size, args, keys.size // 4)


@njit
def _min_max_row(keys, infinity, low, high):
    integer = keys.dtype.type
    shift, magnitude = integer(8 * keys.itemsize - 1), _magnitude(keys)
    nans = integer(0)
    for i in range(keys.size):
        key = integer(keys[i] ^ integer(integer(keys[i] >> shift) & magnitude))
        nan = key > infinity or key < integer(~infinity)
        up = integer(~magnitude) if nan else key
        down = magnitude if nan else key
        high[i] = up if up > high[i] else high[i]
        low[i] = down if down < low[i] else low[i]
        nans = integer(nans + integer(nan))
    return nans


@njit
def _min_max_rows_block(b, keys, infinity, n, group, size, low, high, nans):
    across = -(-n // _COLUMNS)
    per_group = -(-group // size)
    t, c = b // across, b % across * _COLUMNS
    first = t // per_group * group + t % per_group * size
    last = min(first + size, (t // per_group + 1) * group)
    width = min(_COLUMNS, n - c)
    lows, highs = low[t, c : c + width], high[t, c : c + width]
    lows[:], highs[:] = _magnitude(keys), ~_magnitude(keys)
    for r in range(first, last):
        nans[b] += _min_max_row(keys[r * n + c : r * n + c + width], infinity, lows, highs)


@njit
def _min_max_rows(pool, keys, infinity, n, group, size, low, high, nans):
    args = (keys, infinity, n, group, size, low, high, nans)
    parallel(pool, _min_max_rows_block, nans.size, args, keys.size // 4)


@njit(forceinline=True)
def absmax_run(keys, infinity):
    """Largest magnitude that is not NaN."""
    integer = keys.dtype.type
    magnitude, largest = _magnitude(keys), integer(0)
    for p in range(0, keys.size, PIECE):
        part = keys[p : p + PIECE]
        fetch_ahead(part)
        for i in range(part.size):
            key = integer(part[i] & magnitude)
            key = key if key <= infinity else integer(0)
            largest = key if key > largest else largest
    return _float_of(largest)


def _float_of(bits):
    """The float32 or float64 with the bits of an int32 or int64."""
    raise TypeError("only for compiled code")


@overload(_float_of, jit_options={"fastmath": False})
def _float_of_bits(bits):
    if bits == types.int32:
        return lambda bits: np.int32(bits).view(np.float32)
    return lambda bits: np.int64(bits).view(np.float64)
