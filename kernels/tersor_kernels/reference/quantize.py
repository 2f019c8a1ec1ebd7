"""Integers that stand for floats, written plainly.

Everywhere: `axis` and `block_size` say which entries share a scale. None, None: all. An axis: those
with one index along it. An axis and a block_size: runs of block_size along it, the last may be
short. Scales and zero points have the shape () or (n,) or that of `x` with fewer along the axis.
A zero_point of None stands for 0. Float arithmetic is in the dtype of the scales.
"""

import numpy as np

from ._calibrate import entropy_bins as entropy_bins
from ._calibrate import histogram as histogram
from ._nibbles import pack_nibbles as pack_nibbles
from ._nibbles import unpack_nibbles as unpack_nibbles
from ._philox import philox_words


def _spread(values, shape, axis, block_size):
    """`values`, one a scale, repeated for every entry of an array of `shape`."""
    if axis is None:
        return np.broadcast_to(values, shape)
    if block_size is None:
        values = np.expand_dims(values, [i for i in range(len(shape)) if i != axis])
        return np.broadcast_to(values, shape)
    return np.repeat(values, min(block_size, shape[axis]), axis).take(range(shape[axis]), axis)


def _fold(function, x, axis, block_size, start):
    """`function`, a ufunc, over all that share a scale."""
    if axis is None:
        return np.asarray(function.reduce(x, axis=None, initial=start))
    if block_size is None:
        others = tuple(i for i in range(x.ndim) if i != axis)
        return function.reduce(x, axis=others, initial=start)
    n = x.shape[axis]
    blocks = [x.take(range(i, min(i + block_size, n)), axis) for i in range(0, n, block_size)]
    parts = [function.reduce(b, axis=axis, keepdims=True, initial=start) for b in blocks]
    return np.concatenate(parts, axis) if parts else x


def min_max(x, axis, block_size):
    """Least and largest entry of all that share a scale (0 where there is none), number of NaN."""
    x = x.astype(np.float64 if x.dtype == np.float64 else np.float32)
    nan = np.isnan(x)
    low = _fold(np.minimum, np.where(nan, np.inf, x).astype(x.dtype), axis, block_size, np.inf)
    high = _fold(np.maximum, np.where(nan, -np.inf, x).astype(x.dtype), axis, block_size, -np.inf)
    none = low > high
    zero = x.dtype.type(0)
    return np.where(none, zero, low), np.where(none, zero, high), int(nan.sum())


def absmax_scale(absmax, largest):
    """absmax / largest; 1 where absmax is 0.

    Rounded up where it is subnormal: it has few bits there, and absmax could be clipped. Rounded
    down where largest * scale would overflow.
    """
    largest = absmax.dtype.type(largest)
    scale = absmax / largest
    with np.errstate(over="ignore"):
        back = scale * largest
    up = (scale < np.finfo(scale.dtype).smallest_normal) & (back < absmax)
    scale = np.where(up, np.nextafter(scale, scale.dtype.type(np.inf)), scale)
    down = np.isinf(back) & np.isfinite(absmax)
    scale = np.where(down, np.nextafter(scale, scale.dtype.type(0)), scale)
    return np.where(absmax == 0, scale.dtype.type(1), scale)


def _round_scaled(x, scale, zero, order, seed=None, starts=None):
    """x / scale + zero, rounded half to even in one of the orders that are in use, as floats.

    divide: round(x / scale) + zero          multiply: round(x * (1 / scale)) + zero
    add_first: round(x / scale + zero)       multiply_add: round(x * (1 / scale) + zero)
    fma: multiply_add with one rounding to a float between product and integer, not two
    stochastic: floor(x / scale) + zero, + 1 where the 24-bit random number of the entry is below
    2**24 times the fraction. `starts` numbers the first entry of each row (of equal parts of x, in
    C order), the others follow; None numbers all from 0 on.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if order == "divide":
            return np.rint(x / scale) + zero
        if order == "multiply":
            return np.rint(x * (scale.dtype.type(1) / scale)) + zero
        if order == "add_first":
            return np.rint(x / scale + zero)
        if order == "multiply_add":
            return np.rint(x * (scale.dtype.type(1) / scale) + zero)
        if order == "fma":
            inverse = scale.dtype.type(1) / scale
            return np.rint((x.astype(np.float64) * inverse + zero).astype(scale.dtype))
        v = x / scale
        floor = np.floor(v)
        starts = np.zeros(1, np.int64) if starts is None else starts
        places = starts[:, None] + np.arange(x.size // max(starts.size, 1))
        random = (philox_words(seed, places) >> 8).reshape(x.shape).astype(scale.dtype)
        return floor + (random * scale.dtype.type(2**-24) < v - floor) + zero


def quantize(
    x, scale, zero_point, axis, block_size, dtype, low, high, order, seed, starts=None, out=None
):
    """clip(round(x / scale) + zero_point, low, high) as `dtype`, and the number of NaN.

    NaN becomes zero_point. How it is rounded: see `_round_scaled`.
    """
    zero = _spread(_floats(zero_point, scale), x.shape, axis, block_size)
    x, scale = x.astype(scale.dtype), _spread(scale, x.shape, axis, block_size)
    nan = np.isnan(x)
    clipped = np.clip(_round_scaled(x, scale, zero, order, seed, starts), low, high)
    q = np.where(nan, zero, clipped).astype(dtype)
    return _written(q, out), int(nan.sum())


def _written(result, out):
    if out is None:
        return result
    out[...] = result
    return out


def quantize_absmax(x, axis, block_size, dtype, low, high, out=None):
    """`quantize` by the scale absmax / high; also returns the scale, inf where absmax is."""
    least, largest, _ = min_max(x, axis, block_size)
    scale = absmax_scale(np.maximum(-least, largest), high)
    finite = np.where(np.isinf(scale), scale.dtype.type(1), scale)
    options = (axis, block_size, dtype, low, high, "divide", None, None, out)
    q, nan_count = quantize(x, finite, None, *options)
    return q, scale, nan_count


def fake_quantize(x, scale, zero_point, axis, block_size, low, high, order, seed, starts=None):
    """The float that `quantize` and `dequantize` make of each entry, and where it was in range."""
    zero = _spread(_floats(zero_point, scale), x.shape, axis, block_size)
    wide, scale = x.astype(scale.dtype), _spread(scale, x.shape, axis, block_size)
    rounded = _round_scaled(wide, scale, zero, order, seed, starts)
    clipped = np.where(np.isnan(wide), zero, np.clip(rounded, low, high))
    clipped = clipped + clipped.dtype.type(0)  # an integer has no -0.0
    with np.errstate(invalid="ignore"):  # bfloat16 warns where it compares NaN
        mask = (rounded >= low) & (rounded <= high)
    return ((clipped - zero) * scale).astype(x.dtype), mask


def squared_errors(rows, scale, zero_point, low, high, order):
    """Sums of (fake_quantize(x) - x)**2 of each row of (rows, n) by each of its candidate scales.

    scale, zero_point : (rows, candidates). NaN counts as no error.
    """
    rows, errors = rows.astype(scale.dtype), np.empty(scale.shape)
    for c in range(scale.shape[1]):
        zero = None if zero_point is None else zero_point[:, c]
        values, _ = fake_quantize(rows, scale[:, c], zero, 0, None, low, high, order, None)
        difference = values.astype(np.float64) - rows.astype(np.float64)
        with np.errstate(over="ignore"):
            errors[:, c] = np.nansum(difference**2, axis=1)
    return errors


def dequantize(q, scale, zero_point, axis, block_size, dtype, out):
    """(q - zero_point) * scale, computed in the wider of the dtypes, at least float32."""
    wide = np.float64 if np.float64 in (scale.dtype, dtype) else np.float32
    scale = scale.astype(wide)
    zero = _spread(_floats(zero_point, scale), q.shape, axis, block_size)
    result = (q.astype(wide) - zero) * _spread(scale, q.shape, axis, block_size)
    return _written(result.astype(dtype), out)


def _floats(zero_point, scale):
    return np.zeros_like(scale) if zero_point is None else zero_point.astype(scale.dtype)
