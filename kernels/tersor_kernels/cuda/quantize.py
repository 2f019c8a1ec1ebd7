"""Integers that stand for floats; `reference` defines the answers.

What there is once for each entry is computed on the device. What there is once for each scale, and
has to be looked at to be checked, comes to the host: min_max, histograms and errors wait for the
device, and so does the number of NaN.
"""

from math import prod

import cupy
import numpy as np

from ..reference import quantize as reference
from ._launch import TYPES, contiguous, is_aligned, launch, on_device, uploaded

_FILE, _RANGES = "quantize.cu", "quantize_ranges.cu"
_THREADS = 256
_ORDERS = ("divide", "multiply", "add_first", "multiply_add", "fma", "stochastic")
_TEAM_VECTORS = 256  # a warp keeps a run of so many vectors of 16 bytes, or a block one of
_BLOCK_VECTORS = 3000  # so many: 48 KB
_PIECE = 2048  # entries that a warp looks at, at least: 64 a lane
_TASKS = 8192  # pieces at most for one run, which grow with it


def absmax_scale(absmax, largest):
    """absmax / largest; 1 where absmax is 0."""
    return reference.absmax_scale(absmax, largest)


def _wide(dtype):
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def _name(dtype):
    return TYPES[np.dtype(dtype).name]


class _Layout:
    """An array as (outer, n, inner) with n along the axis, and how scales divide it."""

    def __init__(self, shape, axis, block_size):
        self.per_axis = axis is not None and block_size is None
        if axis is None:
            self.outer, self.n, self.inner = 1, max(1, prod(shape)), 1
            self.block = self.n
        else:
            self.outer, self.n = prod(shape[:axis]), shape[axis]
            self.inner = prod(shape[axis + 1 :])
            self.block = 1 if block_size is None else max(1, min(block_size, self.n))
        self.blocks = -(-self.n // self.block)
        self.scales = ()  # their shape
        if self.per_axis:
            self.scales = (self.n,)
        elif axis is not None:
            self.scales = (*shape[:axis], self.blocks, *shape[axis + 1 :])

    def arguments(self):
        """The numbers that the kernels make their struct Layout of."""
        blocks = self.blocks if self.scales or self.per_axis else 0
        sizes = (self.n, self.inner, self.block, blocks)
        return *map(np.int64, sizes), np.bool_(self.per_axis)

    def spread(self, n, scale):
        """How the scales of an aligned vector of `n` entries lie: the enum Spread."""
        runs = self.runs()
        if not self.scales or (runs and runs[1] % n == runs[2] % n == 0):
            return "TOGETHER"
        beside = self.n if self.per_axis else self.inner  # scales in a row
        is_row = runs is None and beside % n == 0
        return "IN_A_ROW" if is_row and is_aligned(scale) else "MIXED"

    def runs(self):
        """(count, row, block, blocks a row) where scales are of contiguous entries, else None."""
        if not self.per_axis and self.inner == 1:
            return self.outer * self.blocks, self.n, self.block, self.blocks
        if self.per_axis and self.inner > 1:
            return self.outer * self.n, self.inner, self.inner, 1
        return None


def _float_input(x, scale):
    """`x` contiguous, in the dtype of the scales or in one that the kernels widen to it."""
    short = x.dtype.itemsize == 2 and scale.dtype == np.float32
    return contiguous(x if short or x.dtype == scale.dtype else x.astype(scale.dtype))


def _blocks(size, per_thread=1):
    """Blocks of threads that take all of `size` entries."""
    return -(-size // (_THREADS * per_thread))


def _elementwise(
    name, x, scale, zero_point, axis, block_size, low, high, order, seed, starts, types
):
    """File, expression, blocks, threads and the arguments that kernels of one input share."""
    wide = _wide(scale.dtype).type
    layout, vector = _Layout(x.shape, axis, block_size), 16 // x.dtype.itemsize
    scale = uploaded(scale, scale.dtype)
    types = ", ".join((_name(x.dtype), _name(scale.dtype), *types))
    expression = f"{name}<{types}, {_ORDERS.index(order)}, {layout.spread(vector, scale)}>"
    arguments = (
        x,
        is_aligned(x),
        scale,
        uploaded(zero_point, np.int32),
        *layout.arguments(),
        np.int64(x.size),
        wide(low),
        wide(high),
        np.uint64(seed or 0),
        uploaded(starts, np.int64),
        np.int64(x.size if starts is None else x.size // starts.size),
    )
    return _FILE, expression, _blocks(x.size, vector), _THREADS, *arguments


@on_device
def quantize(
    x, scale, zero_point, axis, block_size, dtype, low, high, order, seed, starts=None, out=None
):
    """clip(round(x / scale) + zero_point, low, high), and the number of NaN."""
    x, nans = _float_input(x, scale), cupy.zeros(1, np.uint64)
    out = cupy.empty(x.shape, dtype) if out is None else out
    if x.size:
        where, how = (axis, block_size, low, high), (order, seed, starts, (_name(dtype),))
        shared = _elementwise("quantize", x, scale, zero_point, *where, *how)
        launch(*shared, out, is_aligned(out), nans)
    return out, int(nans.get()[0])


@on_device
def quantize_absmax(x, axis, block_size, dtype, low, high, out=None):
    """`quantize` by the scale absmax / high; also returns the scale, inf where absmax is."""
    layout, wide = _Layout(x.shape, axis, block_size), _wide(x.dtype).type
    runs = layout.runs()
    vectors = -(-layout.inner * layout.block * x.dtype.itemsize // 16)
    own_scale = runs is not None and runs[0] == prod(layout.scales)
    if not x.size or not own_scale or vectors > _BLOCK_VECTORS:
        least, largest, _ = min_max(x, axis, block_size)
        scale = reference.absmax_scale(np.maximum(-least, largest), high)
        finite = np.where(np.isinf(scale), wide(1), scale)
        how = (axis, block_size, dtype, low, high, "divide", None, None, out)
        q, count = quantize(x, finite, None, *how)
        return q, uploaded(scale, scale.dtype), count
    x, nans = contiguous(x), cupy.zeros(1, np.uint64)
    out = cupy.empty(x.shape, dtype) if out is None else out
    scale = cupy.empty(layout.scales, wide)
    team = 32 if vectors <= _TEAM_VECTORS else _THREADS
    teams = _THREADS // team
    launch(
        _RANGES,
        f"quantize_absmax<{_name(x.dtype)}, {_name(dtype)}, {team}>",
        -(-runs[0] // teams),
        _THREADS,
        x,
        is_aligned(x),
        *map(np.int64, runs),
        wide(low),
        wide(high),
        np.finfo(wide).smallest_normal,
        wide(np.inf),
        scale,
        out,
        is_aligned(out),
        nans,
        shared=teams * vectors * 16,
    )
    return out, scale, int(nans.get()[0])


@on_device
def fake_quantize(x, scale, zero_point, axis, block_size, low, high, order, seed, starts=None):
    """The float that `quantize` and `dequantize` make of each entry, and where it was in range."""
    dtype, x = x.dtype, _float_input(x, scale)
    values, mask = cupy.empty(x.shape, x.dtype), cupy.empty(x.shape, np.bool_)
    if x.size:
        where, how = (axis, block_size, low, high), (order, seed, starts, ())
        shared = _elementwise("fake_quantize", x, scale, zero_point, *where, *how)
        launch(*shared, values, mask)
    return values if values.dtype == dtype else values.astype(dtype), mask


@on_device
def dequantize(q, scale, zero_point, axis, block_size, dtype, out):
    """(q - zero_point) * scale, computed in the wider of the dtypes, at least float32."""
    wide = np.dtype(np.float64 if np.float64 in (scale.dtype, dtype) else np.float32)
    direct = out is not None and out.dtype == dtype and out.flags.c_contiguous
    result, q = out if direct else cupy.empty(q.shape, dtype), contiguous(q)
    if q.size:
        layout, scale = _Layout(q.shape, axis, block_size), uploaded(scale, scale.dtype)
        vector = 16 // max(q.dtype.itemsize, result.dtype.itemsize)
        types = ", ".join(map(_name, (q.dtype, scale.dtype, wide, dtype)))
        aligned = is_aligned(q, vector * q.dtype.itemsize)
        launch(
            _FILE,
            f"dequantize<{types}, {layout.spread(vector, scale)}>",
            _blocks(q.size, vector),
            _THREADS,
            q,
            aligned and is_aligned(result, vector * result.dtype.itemsize),
            scale,
            uploaded(zero_point, np.int32),
            *layout.arguments(),
            np.int64(q.size),
            result,
        )
    if out is None or direct:
        return result
    out[...] = result
    return out


@on_device
def min_max(x, axis, block_size):
    """Least and largest entry of all that share a scale (0 where there is none), number of NaN."""
    layout, wide = _Layout(x.shape, axis, block_size), _wide(x.dtype)
    scales = prod(layout.scales)
    if not x.size:
        return *np.zeros((2, *layout.scales), wide), 0
    x = contiguous(x)
    key = np.dtype(f"u{wide.itemsize}")
    lows, highs = cupy.empty(scales, key), cupy.zeros(scales, key)
    lows.fill(key.type(np.iinfo(key).max))
    nans = cupy.zeros(1, np.uint64)
    types = f"<{_name(x.dtype)}, {_name(key)}>"
    runs = layout.runs()
    if runs is None:
        _launch_columns(x, layout, types, lows, highs, nans)
    else:
        piece = _PIECE * -(-runs[2] // (_PIECE * _TASKS))
        pieces = -(-runs[2] // piece)
        sizes = map(np.int64, (*runs, pieces, piece, scales))
        blocks = -(-runs[0] * pieces // (_THREADS // 32))
        arguments = (x, is_aligned(x), *sizes, lows, highs, nans)
        launch(_RANGES, f"min_max_runs{types}", blocks, _THREADS, *arguments)
    ends = cupy.empty((2, *layout.scales), wide)
    types = f"<{_name(wide)}, {_name(key)}>"
    launch(
        _RANGES,
        f"ends_of_keys{types}",
        _blocks(scales),
        _THREADS,
        lows,
        highs,
        np.int64(scales),
        ends[0],
        ends[1],
    )
    low, high = ends.get()
    return np.asarray(low), np.asarray(high), int(nans.get()[0])


def _launch_columns(x, layout, types, lows, highs, nans):
    """min_max where the scales of neighbouring entries differ."""
    if layout.per_axis:
        n, rows, columns, per_matrix, matrices = layout.outer, layout.outer, layout.n, 1, 1
    else:
        n, rows, columns = layout.n, layout.block, layout.inner
        per_matrix, matrices = layout.blocks, layout.outer * layout.blocks
    width = min(columns, _THREADS)
    piece = 64 * (_THREADS // width)
    tiles, pieces = -(-columns // width), -(-rows // piece)
    launch(
        _RANGES,
        f"min_max_columns{types}",
        matrices * pieces * tiles,
        _THREADS,
        x,
        *map(np.int64, (n, rows, columns, per_matrix, piece)),
        np.int32(width),
        np.int64(tiles),
        np.int64(pieces),
        lows,
        highs,
        nans,
    )


@on_device
def histogram(rows, exponents, bins):
    """Counts of each row's entries in 2 * bins equal bins of (-2**e, 2**e), e its exponent."""
    rows, (channels, n) = contiguous(rows), rows.shape
    counts = cupy.zeros((channels, 2 * bins), np.uint64)
    if rows.size:
        piece = 1 << 16
        pieces = -(-n // piece)
        launch(
            _RANGES,
            f"histogram<{_name(rows.dtype)}>",
            channels * pieces,
            _THREADS,
            rows,
            *map(np.int64, (n, pieces, piece)),
            uploaded(np.ldexp(float(bins), -exponents), np.float64),
            np.int32(bins),
            counts,
            shared=2 * bins * 4,
        )
    return counts.get().astype(np.int64)


def entropy_bins(counts, levels):
    """How many bins of a histogram to keep so that `levels` levels lose the least information."""
    # Histograms are few, short and on the host already.
    from ..cpu.quantize import entropy_bins as on_host

    return on_host(counts, levels)


@on_device
def squared_errors(rows, scale, zero_point, low, high, order):
    """Sums of (fake_quantize - x)**2 of each row of (rows, n) by each of its candidate scales."""
    x = _float_input(rows, scale)
    (count, n), candidates = x.shape, scale.shape[1]
    piece = 1 << 14
    pieces, team = -(-n // piece), 32 if n <= 1024 else _THREADS
    errors = cupy.empty((count, pieces, candidates), np.float64)
    if x.size:
        wide = _wide(scale.dtype).type
        types = f"{_name(x.dtype)}, {_name(scale.dtype)}"
        launch(
            _RANGES,
            f"squared_errors<{types}, {_ORDERS.index(order)}, {team}>",
            -(-count * pieces // (_THREADS // team)),
            _THREADS,
            x,
            *map(np.int64, (count, n, pieces, piece)),
            uploaded(scale, scale.dtype),
            uploaded(zero_point, np.int32),
            np.int32(candidates),
            wide(low),
            wide(high),
            errors,
        )
    return errors.get().sum(axis=1)


@on_device
def pack_nibbles(q):
    """4-bit values two a byte along the last axis, low nibble first, an odd end padded with 0."""
    n = q.shape[-1] if q.ndim else 1
    out = cupy.empty((*q.shape[:-1], -(-n // 2))[: q.ndim], np.uint8)
    if out.size:
        sizes = np.int64(n), np.int64(out.size)
        launch(_FILE, "pack_nibbles", _blocks(out.size), _THREADS, contiguous(q), *sizes, out)
    return out


@on_device
def unpack_nibbles(packed, shape, signed):
    """The int8 or uint8 values of `pack_nibbles`, of `shape`."""
    out = cupy.empty(shape, np.int8 if signed else np.uint8)
    if out.size:
        sizes = np.int64(shape[-1] if shape else 1), np.int64(out.size)
        launch(
            _FILE,
            "unpack_nibbles",
            _blocks(out.size),
            _THREADS,
            contiguous(packed),
            *sizes,
            np.int32(8 if signed else 0),
            out,
        )
    return out
