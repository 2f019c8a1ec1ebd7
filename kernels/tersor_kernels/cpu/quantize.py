"""Integers that stand for floats; `reference` defines the answers."""

import numpy as np

from ..reference import quantize as reference
from . import _quantize_back as back
from ._calibrate import entropy_bins as entropy_bins
from ._calibrate import histogram as histogram
from ._calibrate import squared_errors as squared_errors
from ._common import BLOCK, widened
from ._extremes import INFINITY
from ._extremes import min_max as min_max
from ._layout import layout_of, shape_of_scales
from ._nibbles import pack_nibbles as pack_nibbles
from ._nibbles import unpack_nibbles as unpack_nibbles
from ._parallel import workers
from ._quantize_absmax import quantize_runs, scale_of_all
from ._quantize_given import quantize_all, quantize_as, quantize_layout
from ._rounding import ORDERS
from ._stream import LARGE

_BITS = {1: np.uint8(0), 2: np.uint16(0)}  # of so many bytes
_TINY = {np.dtype(f): np.finfo(f).smallest_normal for f in (np.float32, np.float64)}


def absmax_scale(absmax, largest):
    """absmax / largest; 1 where absmax is 0."""
    return reference.absmax_scale(absmax, largest)


def quantize(
    x, scale, zero_point, axis, block_size, dtype, low, high, order, seed, starts=None, out=None
):
    """clip(round(x / scale) + zero_point, low, high), and the number of NaN."""
    if scale.dtype.itemsize == 2:  # to round every step to 16 bits is for comparisons only
        options = (zero_point, axis, block_size, dtype, low, high, order, seed, starts, out)
        return reference.quantize(x, scale, *options)
    x = np.asarray(x, scale.dtype, order="C")
    out = np.empty(x.shape, dtype) if out is None else out
    if axis is None and order == "divide" and out.itemsize == 1:
        zero = 0 if zero_point is None else int(zero_point)
        args = id(x), x.size, scale[()], zero, low, high, id(out)
        return out, quantize_all(workers(), *args)
    if x.size == 0:
        return out, 0
    if order == "divide":
        kind, scale = scale.dtype.type, np.asarray(scale, order="C")
        zero, bits = _floats(zero_point, scale), _BITS[out.itemsize]
        args = *layout_of(x.shape, axis, block_size), kind(low), kind(high), bits, id(out)
        return out, quantize_layout(workers(), id(x), x.size, id(scale), id(zero), *args)
    nans = np.zeros(-(-x.size // BLOCK), np.int64)
    args = _arguments(x, scale, zero_point, axis, block_size, low, high)
    results = out.reshape(-1).view(f"u{out.itemsize}"), nans
    quantize_as(workers(), *args, *_order(order, seed, starts), *results)
    return out, int(nans.sum())


def _arguments(x, scale, zero_point, axis, block_size, low, high):
    layout = layout_of(x.shape, axis, block_size)
    limits = (scale.dtype.type(low), scale.dtype.type(high))
    flat = np.asarray(scale, order="C").reshape(-1)
    return x.reshape(-1), flat, _floats(zero_point, flat), layout, limits


def _order(order, seed, starts):
    starts = np.zeros(1, np.int64) if starts is None else starts
    return ORDERS[order], np.uint64(seed or 0), starts


def _floats(zero_point, scale):
    """`zero_point`, or zeros, flat and in the dtype of `scale`."""
    if zero_point is None:
        return np.zeros(scale.size, scale.dtype)
    return np.asarray(zero_point, scale.dtype, order="C").reshape(-1)


def quantize_absmax(x, axis, block_size, dtype, low, high, out=None):
    """`quantize` by the scale absmax / high; also returns the scale, inf where absmax is."""
    x = np.asarray(widened(x), order="C")
    infinity, tiny, inf = INFINITY[x.dtype], _TINY[x.dtype], x.dtype.type(np.inf)
    if axis is None:
        largest = x.dtype.type(high)
        scale = scale_of_all(workers(), id(x), x.size, infinity, largest, tiny, inf)
        scale = np.array(scale, x.dtype)
        q, nans = quantize(x, scale, None, None, None, dtype, low, high, "divide", None, None, out)
        return q, scale, nans
    rows, n, group, size = layout_of(x.shape, axis, block_size) if x.size else (1, 0, 0, 0)
    if rows or group * n != x.size or size > 16 * BLOCK:
        least, largest, _ = min_max(x, axis, block_size)
        scale = absmax_scale(np.maximum(-least, largest), high)
        options = (axis, block_size, dtype, low, high, "divide", None, None, out)
        q, nan_count = quantize(x, scale, None, *options)
        return q, scale, nan_count
    out = np.empty(x.shape, dtype) if out is None else out
    scale = np.empty(shape_of_scales(x.shape, axis, block_size), x.dtype)
    args = low, high, tiny, inf, infinity, n, size, scale.size, id(scale), id(out)
    return out, scale, quantize_runs(workers(), id(x), *args)


def fake_quantize(x, scale, zero_point, axis, block_size, low, high, order, seed, starts=None):
    """The float that `quantize` and `dequantize` make of each entry, and where it was in range."""
    if scale.dtype.itemsize == 2:
        return reference.fake_quantize(
            x, scale, zero_point, axis, block_size, low, high, order, seed, starts
        )
    wide = np.asarray(x, scale.dtype, order="C")
    values, mask = np.empty(x.shape, scale.dtype), np.empty(x.shape, np.bool_)
    if x.size:
        args = _arguments(wide, scale, zero_point, axis, block_size, low, high)
        args = *args, *_order(order, seed, starts), values.reshape(-1), mask.reshape(-1)
        back.fake_quantize(workers(), *args)
    return values.astype(x.dtype, copy=False), mask


def dequantize(q, scale, zero_point, axis, block_size, dtype, out):
    """(q - zero_point) * scale, computed in the wider of the dtypes, at least float32."""
    wide = np.float64 if np.float64 in (scale.dtype, dtype) else np.float32
    scale, q = np.asarray(scale, wide, order="C"), np.asarray(q, order="C")
    direct = out is not None and out.dtype == wide and out.flags.c_contiguous
    result = out if direct else np.empty(q.shape, wide)
    if q.size:
        zero = _floats(zero_point, scale)
        dtypes = q.dtype.type(0), wide(0)
        layout, past_caches = layout_of(q.shape, axis, block_size), direct and out.nbytes > LARGE
        args = id(q), q.size, id(scale), id(zero), *layout, past_caches, *dtypes, id(result)
        back.dequantize(workers(), *args)
    if out is None:
        return result.astype(dtype, copy=False)
    if not direct:
        out[...] = result.astype(dtype, copy=False)
    return out
