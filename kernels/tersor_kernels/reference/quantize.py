"""Integers that stand for floats, written plainly.

Everywhere: `axis` and `block_size` say which entries share a scale. None, None: all. An axis: those
with one index along it. An axis and a block_size: runs of block_size along it, the last may be
short. Scales and zero points have the shape () or (n,) or that of `x` with fewer along the axis.
Float arithmetic is in the dtype of the scales.
"""

import numpy as np


def spread(values, shape, axis, block_size):
    """`values`, one a scale, repeated for every entry of an array of `shape`."""
    if axis is None:
        return np.broadcast_to(values, shape)
    if block_size is None:
        values = np.expand_dims(values, [i for i in range(len(shape)) if i != axis])
        return np.broadcast_to(values, shape)
    return np.repeat(values, block_size, axis).take(range(shape[axis]), axis)


def min_max(x, axis, block_size):
    """Least and largest entry of all that share a scale, NaN left out; 0 where there is none."""
    x = np.asarray(x, np.float64 if x.dtype == np.float64 else np.float32)

    def reduce(function):
        start = np.inf if function is np.fmin else -np.inf
        if axis is None:
            result = function.reduce(x, axis=None, initial=start)
        elif block_size is None:
            others = tuple(i for i in range(x.ndim) if i != axis)
            result = function.reduce(x, axis=others, initial=start)
        else:
            starts = range(0, x.shape[axis], block_size)
            blocks = [x.take(range(i, min(i + block_size, x.shape[axis])), axis) for i in starts]
            parts = [function.reduce(b, axis=axis, keepdims=True) for b in blocks]
            result = np.concatenate(parts, axis) if parts else x
        return np.asarray(result, x.dtype)

    low, high = reduce(np.fmin), reduce(np.fmax)
    some = ~np.isnan(low) & (low <= high)  # an empty slice has low = inf
    return np.where(some, low, x.dtype.type(0)), np.where(some, high, x.dtype.type(0))


def absmax_scale(absmax, largest):
    """absmax / largest, rounded up where that is subnormal (few bits: absmax could clip); 0 -> 1."""
    scale = absmax / absmax.dtype.type(largest)
    small = (scale < np.finfo(scale.dtype).smallest_normal) & (
        scale * scale.dtype.type(largest) < absmax
    )
    scale = np.where(small, np.nextafter(scale, scale.dtype.type(np.inf)), scale)
    return np.where(absmax == 0, scale.dtype.type(1), scale)


def quantize(x, scale, zero_point, axis, block_size, dtype, low, high):
    """clip(round_half_even(x / scale) + zero_point, low, high) as `dtype`, and the number of NaN.

    NaN becomes zero_point.
    """
    zero = spread(_float(zero_point, scale), x.shape, axis, block_size)
    x, scale = x.astype(scale.dtype), spread(scale, x.shape, axis, block_size)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.rint(x / scale) + zero
    nan = np.isnan(x)
    return np.where(nan, zero, np.clip(rounded, low, high)).astype(dtype), int(nan.sum())


def quantize_absmax(x, axis, block_size, dtype, low, high):
    """`quantize` by the scale absmax / high; also returns the scale, inf where absmax is."""
    least, largest = min_max(x, axis, block_size)
    scale = absmax_scale(np.maximum(-least, largest), high)
    q, nan_count = quantize(x, scale, None, axis, block_size, dtype, low, high)
    return q, scale, nan_count


def dequantize(q, scale, zero_point, axis, block_size, dtype, out):
    """(q - zero_point) * scale, computed in the wider of the dtypes, at least float32."""
    wide = np.float64 if np.float64 in (scale.dtype, dtype) else np.float32
    scale = scale.astype(wide)
    zero = spread(_float(zero_point, scale), q.shape, axis, block_size)
    result = ((q.astype(wide) - zero) * spread(scale, q.shape, axis, block_size)).astype(dtype)
    if out is None:
        return result
    out[...] = result
    return out


def pack_nibbles(q):
    """4-bit values two a byte along the last axis, low nibble first, an odd end padded with 0."""
    nibbles = q.view(np.uint8) & 15
    if q.ndim == 0:
        return nibbles
    if q.shape[-1] % 2:
        nibbles = np.concatenate([nibbles, np.zeros_like(nibbles[..., :1])], -1)
    return nibbles[..., ::2] | nibbles[..., 1::2] << 4


def unpack_nibbles(packed, shape, signed):
    """The int8 or uint8 values of `pack_nibbles`, of `shape`."""
    nibbles = np.empty((*packed.shape, 2), np.uint8)
    nibbles[..., 0] = packed & 15
    nibbles[..., 1] = packed >> 4
    if not shape:
        nibbles = nibbles[..., 0]
    else:
        nibbles = nibbles.reshape(*shape[:-1], 2 * packed.shape[-1])[..., : shape[-1]]
    return (nibbles ^ 8).view(np.int8) - np.int8(8) if signed else nibbles


def _float(zero_point, scale):
    """`zero_point`, or zeros, in the dtype of `scale`."""
    return np.zeros_like(scale) if zero_point is None else zero_point.astype(scale.dtype)
