"""Panels for the micro-kernels of the int8 product: see `_gemm_tiles` for their layout.

A is brought to signed and B to unsigned bytes (for sdot also signed) by flipping top bits, which
moves their zero points by 128. Sums of rows and columns come along with the packing:

    sum (a - za) (b - zb) = sum a b - za sum b - zb (sum a - k za)

k is cut into groups that are summed apart: int32 can not overflow within one, and weights may have
a scale for each. In the panels each group is padded with zeros to whole words.

Arrays are passed as addresses and steps in bytes: every stride, negative or 0, without a copy and
without a compilation for each layout.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .._jit import njit
from ._gemm_int8 import multiply
from ._ir import ints, load, pointer, splat, store
from ._native import array_at, prefetch

LINE = 64  # bytes: vectors that cross cache lines take twice as long to load
_i8, _i64 = ir.IntType(8), ir.IntType(64)


@intrinsic
def read(typingctx, dtype, address):
    """The number of `dtype` at an address that need not be aligned."""
    result = dtype.dtype

    def codegen(context, builder, sig, args):
        return builder.load(pointer(builder, args[1], context.get_value_type(result)), align=1)

    return result(dtype, types.intp), codegen


@intrinsic
def write(typingctx, address, value):
    """Store `value` at an address that need not be aligned."""

    def codegen(context, builder, sig, args):
        builder.store(args[1], pointer(builder, args[0], args[1].type), align=1)
        return context.get_dummy_value()

    return types.void(types.intp, value), codegen


@intrinsic
def interleave(typingctx, tile, source, k_step, flip, out):
    """One word of k of a panel of B whose columns lie side by side, each byte ^ flip."""
    depth, width = tile.tile.depth, tile.tile.width

    def codegen(context, builder, sig, args):
        _, source, k_step, flip, out = args
        rows = []
        for t in range(depth):
            address = builder.add(source, builder.mul(k_step, _i64(t)))
            rows.append(load(builder, address, _i64(0), ir.VectorType(_i8, width)))
        bits = 8
        while len(rows) > 1:
            order = ints([j + half for j in range(width) for half in (0, width)])
            rows = [
                builder.shuffle_vector(a, b, order)
                for a, b in zip(rows[::2], rows[1::2], strict=True)
            ]
            bits *= 2
            rows = [builder.bitcast(r, ir.VectorType(ir.IntType(bits), width)) for r in rows]
        words = builder.bitcast(rows[0], ir.VectorType(_i8, depth * width))
        words = builder.xor(words, splat(builder, flip, depth * width))
        store(builder, words, out, _i64(0))
        return context.get_dummy_value()

    return types.void(tile, types.intp, types.intp, types.uint8, types.intp), codegen


def group_starts(k, block_size, longest):
    """Where groups of k begin, and k: up to `longest` entries each, none across block boundaries.

    And the block of each.
    """
    blocks = np.arange(-(-k // block_size)) if k > 0 else np.arange(0)
    inside = np.arange(0, min(block_size, max(k, 1)), longest)
    starts = (blocks[:, None] * block_size + inside).reshape(-1)
    starts = starts[starts < k]
    return np.append(starts, k), starts // block_size


def packed_starts(unit, starts):
    """Where groups begin in a panel: each is padded to a multiple of `unit` entries."""
    sizes = -(-np.diff(starts) // unit) * unit
    return np.concatenate([[0], np.cumsum(sizes)])


@njit
def padded(tile, n):
    """n columns rounded up to whole panels."""
    return -(-n // tile.width) * tile.width


@njit
def aligned(size):
    """`size` bytes at a cache line."""
    memory = np.empty(size + LINE, np.uint8)
    skip = -memory.ctypes.data % LINE
    return memory[skip : skip + size]


@njit
def height_index(tile, left):
    """Which of tile.heights the next panel of `left` rows has: the tallest, or the least enough."""
    _, second, third, fourth = tile.heights
    if left > second:
        return 0
    if left > third:
        return 1
    return 2 if left > fourth else 3


@njit
def put_row(depth, height, i, row, words, out):
    """Words of a row of signed bytes to their places in a panel of `height` rows."""
    if depth == 4:
        for w in range(words):
            write(out + 4 * (w * height + i), read(np.uint32, row + 4 * w))
    else:
        for w in range(words):
            low = np.int32(read(np.int8, row + 2 * w)) & np.int32(0xFFFF)
            high = np.int32(read(np.int8, row + 2 * w + 1)) << np.int32(16)
            write(out + 4 * (w * height + i), np.uint32(low | high))


@njit
def sum_groups(row, places, sizes, sums, step):
    """Sums of the groups of a row of signed bytes, to sums[0], sums[step], ..."""
    for g in range(places.size - 1):
        part = row[places[g] : places[g] + sizes[g + 1] - sizes[g]]
        total = np.int32(0)
        for j in range(part.size):
            total = np.int32(total + np.int32(part[j]))
        sums[g * step] = total


@njit
def pack_rows(i, tile, source, groups, out, sums):
    """Panel i of A, as of all panels of the tallest height: its words, and sums (groups, rows).

    source : offsets of matrices, base, rows in each, step, k_step, flip.
    """
    starts, places = groups
    offsets, base, m, step, k_step, flip = source
    tall = tile.heights[0]
    per_matrix = -(-m // tall)
    matrix, panel = divmod(i, per_matrix)
    first = panel * tall
    rows = min(tall, m - first)
    height = tile.heights[height_index(tile, rows)]
    words = places[-1] // tile.depth
    address = base + offsets[matrix] + first * step
    to = out + 4 * words * (matrix * per_matrix * tall + first)
    temporary = np.zeros((height, places[-1]), np.int8)
    for g in range(starts.size - 1):
        begin, size, at = starts[g], starts[g + 1] - starts[g], places[g]
        if k_step == 1:
            for r in range(rows):
                entries = array_at(address + r * step + begin, np.uint8)[:size]
                row = temporary[r, at : at + size]
                for j in range(size):
                    row[j] = np.int8(entries[j] ^ flip)
        else:
            for j in range(size):
                entry = address + (begin + j) * k_step
                for r in range(rows):
                    temporary[r, at + j] = np.int8(read(np.uint8, entry + r * step) ^ flip)
    for r in range(height):
        put_row(tile.depth, height, r, temporary[r].ctypes.data, words, to)
        if sums.size > 0 and r < rows:
            column = sums[matrix].reshape(-1)[first + r :]
            sum_groups(temporary[r], places, starts, column, sums.shape[2])


@njit
def _word(tile, source, k_step, count, flip):
    """`count` entries of B as an integer, the first lowest, each ^ flip."""
    if k_step == 1 and count == tile.depth:
        if tile.depth == 4:
            value = np.uint32(read(np.uint32, source))
        else:
            value = np.uint32(read(np.uint16, source))
        return np.uint32(value ^ np.uint32(flip) * np.uint32(0x01010101))
    value = np.uint32(0)
    for t in range(count):
        entry = np.uint32(read(np.uint8, source + t * k_step) ^ flip)
        value |= np.uint32(entry << np.uint32(8 * t))
    return np.uint32(value)


@njit
def _put(address, value, size):
    if size == 4:
        write(address, np.uint32(value))
    else:
        write(address, np.uint16(value))


@njit
def _pack_panel(tile, source, step, k_step, columns, k, flip, out):
    """k entries of `columns` columns as a panel; what is missing is 0."""
    depth, width = tile.depth, tile.width
    whole, tail = k // depth, k % depth
    for c in range(width):
        column, to = source + c * step, out + c * depth
        if c < columns:
            for w in range(whole):
                value = _word(tile, column + w * depth * k_step, k_step, depth, flip)
                _put(to + w * width * depth, value, depth)
            if tail > 0:
                value = _word(tile, column + whole * depth * k_step, k_step, tail, flip)
                _put(to + whole * width * depth, value, depth)
        else:
            for w in range(whole + (tail > 0)):
                _put(to + w * width * depth, 0, depth)


@njit
def pack_strip(tile, source, step, k_step, columns, k, flip, out, panel_step):
    """k entries of `columns` columns of B as panels that begin `panel_step` bytes apart.

    Columns that lie side by side are taken four rows and a cache line of each at a time: rows a
    power of two apart would throw each other out of the first cache.
    """
    depth, width = tile.depth, tile.width
    whole = k // depth
    together = max(1, LINE // width)  # panels
    panels = columns // width if step == 1 else 0
    for p in range(0, panels, together):
        for w in range(whole):
            rows = source + p * width + w * depth * k_step
            for t in range(depth):
                prefetch(rows + t * k_step + 4 * LINE)
            for q in range(p, min(p + together, panels)):
                to = out + q * panel_step + w * depth * width
                interleave(tile, rows + (q - p) * width, k_step, flip, to)
        if k > whole * depth:
            for q in range(p, min(p + together, panels)):
                rest = source + q * width + whole * depth * k_step
                to = out + q * panel_step + whole * depth * width
                _pack_panel(tile, rest, step, k_step, width, k - whole * depth, flip, to)
    for p in range(panels, -(-columns // width)):
        count, first = min(width, columns - p * width), source + p * width * step
        _pack_panel(tile, first, step, k_step, count, k, flip, out + p * panel_step)


@njit
def add_column_sums(tile, panel, words, ones, add, sums):
    """Sums of the columns of a panel: its product with a row of ones."""
    multiply(tile, 3, ones.ctypes.data, panel, words, add, sums)


@njit
def ones_for(tile, words):
    """A row of A that is all ones, as a panel."""
    return np.full(words, 0x01010101 if tile.depth == 4 else 0x00010001, np.uint32)


@njit
def pack_nibbles(tile, data, first, columns, groups, out):
    """`columns` columns, rows of `data` from `first` on, of values 0..15 as a panel."""
    starts, places = groups
    width = tile.width
    for c in range(width):
        for g in range(starts.size - 1):
            size = starts[g + 1] - starts[g]
            for i in range((places[g + 1] - places[g]) // 8):
                word = np.uint32(0)
                for t in range(8):
                    j = 8 * i + t
                    if c < columns and j < size:
                        entry = np.uint32(data[first + c, starts[g] + j])
                        word |= entry << np.uint32(8 * (t % 4) + 4 * (t // 4))
                write(out + (places[g] // 8 + i) * 4 * width + 4 * c, np.uint32(word))


@njit
def block_steps(tile, m, n, k, batches):
    """Rows and columns of a block: few large ones, more where there is little to share out."""
    tall = tile.heights[0]
    most = max(1, min(96, 393216 // max(k, 1)) // tall)  # panels of A that stay in the second cache
    rows = -(-m // (-(-m // (most * tall))))
    rows = -(-rows // tall) * tall
    columns = 256
    while columns > 2 * tile.width and batches * -(-m // rows) * -(-n // columns) < 16:
        columns //= 2
    return rows, columns


@njit
def work_guess(rate, m, n, k):
    """Nanoseconds of serial work at `rate` products in a quarter of one, and some for packing."""
    return m * n * k // (4 * rate) + (m + n) * k // 8
