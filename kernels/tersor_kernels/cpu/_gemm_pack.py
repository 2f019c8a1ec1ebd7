"""Panels for the micro-kernels of the int8 product, and the product of a block of rows.

k is cut into groups that are summed apart: int32 can not overflow within one, and weights may have
a scale for each. Column sums come along with the packing, for zero points:

    sum (a - za) (b - zb) = sum a b - za sum b - zb (sum a - k za)

Arrays are passed as addresses and steps in bytes: every stride, negative or 0, without a copy and
without a compilation for each layout.
"""

import numpy as np
from numba import types
from numba.extending import overload

from .._jit import njit
from ._gemm_int8 import interleave, multiply, read, write

GROUP = 32768  # entries of k in a group at most: 255 * 255 * 32,768 < 2**31
_DEPTH = 1024  # entries of k in a panel that is in work: 32 columns are 32 KiB, a first cache
_ROWS, COLUMNS = 96, 256  # of a block: its rows of A, 96 KiB, stay in the second cache
_STRIP = 64  # entries of k that are packed at a time
_LINE = 64  # bytes: vectors that cross cache lines take twice as long to load


def group_starts(k, block_size):
    """Where groups of k begin, and k itself: GROUP entries each, none across a block boundary."""
    starts = [
        i
        for block in range(0, k, block_size)
        for i in range(block, min(k, block + block_size), GROUP)
    ]
    return np.array([*starts, k])


def packed_starts(tile, starts):
    """Where groups begin in a panel: each is padded to whole words."""
    words = -(-np.diff(starts) // tile.depth)
    return np.concatenate([[0], np.cumsum(words * tile.depth)])


@njit
def padded(tile, n):
    """n columns rounded up to whole panels."""
    return -(-n // tile.width) * tile.width


@njit
def room_for(tile, matrices, n, k):
    """Memory for the panels of matrices of n columns, k entries deep, at a cache line."""
    size = padded(tile, n) * k
    memory = np.empty(matrices * size + _LINE, np.uint8)
    skip = -memory.ctypes.data % _LINE
    return memory[skip : skip + matrices * size].reshape(matrices, size)


class Matrices:
    """Matrices of one shape in an int8 or uint8 array (..., rows, k), as addresses and steps.

    The array must outlive the use of the addresses.
    """

    def __init__(self, array, signed, batch=()):
        """`signed`: which kind the micro-kernel wants; the other's top bits are flipped."""
        first = array.__array_interface__["data"][0]
        addresses = np.full((1,) * (array.ndim - 2), first)
        for axis, (n, step) in enumerate(zip(array.shape[:-2], array.strides[:-2], strict=True)):
            others = [i for i in range(array.ndim - 2) if i != axis]
            addresses = addresses + np.expand_dims(np.arange(n) * step, others)
        if addresses.shape != batch:
            addresses = np.array(np.broadcast_to(addresses, batch))
        flipped = (array.dtype == np.int8) != signed
        # What is taken off the entries, and so of their zero points: x ^ 0x80 as the other kind.
        self.shift = np.int32(0 if not flipped else 128 if signed else -128)
        self.count = addresses.size
        flip = np.uint8(0x80 if flipped else 0)
        self.args = (addresses.reshape(-1), *array.strides[-2:], flip)


@njit
def _word(tile, source, k_step, count, flip, size):
    """`count` entries as an integer of `size` bytes, the first lowest, each ^ flip."""
    if k_step == 1 and count == tile.depth:
        if tile.depth == 4:
            value = np.uint32(read(np.uint32, source))
        else:
            value = np.uint32(read(np.uint16, source))
        value ^= np.uint32(flip) * np.uint32(0x01010101)
    else:
        value = np.uint32(0)
        for t in range(count):
            entry = np.uint32(read(np.uint8, source + t * k_step) ^ flip)
            value |= np.uint32(entry << np.uint32(8 * t))
    if tile.depth == 2 and size == 4:  # uint8 to uint16
        low, high = value & np.uint32(0xFF), (value >> np.uint32(8)) & np.uint32(0xFF)
        return np.uint32(low | (high << np.uint32(16)))
    return np.uint32(value)


@njit
def _put(address, value, size):
    if size == 4:
        write(address, np.uint32(value))
    else:
        write(address, np.uint16(value))


@njit
def _pack_panel(tile, source, step, k_step, rows, height, k, flip, out, size):
    """Words of `rows` rows of k entries as a panel of `height` rows; what is missing is 0."""
    whole, tail = k // tile.depth, k % tile.depth
    words = whole + (tail > 0)
    for r in range(height):
        row, to = source + r * step, out + r * size
        if r < rows:
            for w in range(whole):
                value = _word(tile, row + w * tile.depth * k_step, k_step, tile.depth, flip, size)
                _put(to + w * height * size, value, size)
            if tail > 0:
                value = _word(tile, row + whole * tile.depth * k_step, k_step, tail, flip, size)
                _put(to + whole * height * size, value, size)
        else:
            for w in range(words):
                _put(to + w * height * size, 0, size)


@njit
def _pack_columns(tile, source, step, k_step, columns, k, flip, out):
    """A panel of B: k entries of up to tile.width columns."""
    depth, width = tile.depth, tile.width
    if step == 1 and columns == width:
        whole = k // depth
        for w in range(whole):
            to = out + w * depth * width
            interleave(tile, source + w * depth * k_step, k_step, flip, to)
        if k % depth > 0:
            rest = source + whole * depth * k_step
            to = out + whole * depth * width
            _pack_panel(tile, rest, step, k_step, columns, width, k % depth, flip, to, depth)
    else:
        _pack_panel(tile, source, step, k_step, columns, width, k, flip, out, depth)


@njit
def _height(tile, left, out):
    """Rows of the next panel of `left` rows; float64 sums fill the registers with fewer."""
    tall, middle, low = tile.heights
    if left > 2 * middle and out.itemsize < 8:
        return tall
    return middle if left > low else low


def _pack_rows(tile, source, step, k_step, flip, rows, k, like):
    """`rows` rows of A as panels of the heights of `_height`, as integers or floats as `like`."""
    raise TypeError("only for compiled code")


@overload(_pack_rows, jit_options={"fastmath": False})
def _pack_rows_(tile, source, step, k_step, flip, rows, k, like):
    def integers(tile, source, step, k_step, flip, rows, k, like):
        words = -(-k // tile.depth)
        out = np.empty((rows + tile.heights[0], words), np.uint32)
        r = 0
        while r < rows:
            height = _height(tile, rows - r, like)
            to = out.ctypes.data + 4 * r * words
            mine = source + r * step
            _pack_panel(tile, mine, step, k_step, min(height, rows - r), height, k, flip, to, 4)
            r += height
        return out

    def floats(tile, source, step, k_step, flip, rows, k, like):
        dtype = like.dtype.type
        deep = -(-k // tile.depth) * tile.depth
        out = np.zeros((rows + tile.heights[0], deep), like.dtype)
        r = 0
        while r < rows:
            height = _height(tile, rows - r, like)
            panel = out[r : r + height].reshape(-1)
            for i in range(min(height, rows - r)):
                row = source + (r + i) * step
                for j in range(k):
                    panel[j * height + i] = read(dtype, row + j * k_step)
            r += height
        return out

    return integers if isinstance(like.dtype, types.Integer) else floats


@njit
def group_product(tile, source, step, k_step, flip, rows, k, panels, panel_step, count, zero, out):
    """out[i, j] = sum over k entries of a[i] b[j], for `count` panels of B, `panel_step` apart.

    Where `out` has a panel more, row sums of a are written there. Where it is float, the zero
    points of the columns, int32 at address `zero`, are taken off b.
    """
    width = tile.width
    sums = out.shape[1] > count * width
    ones = np.ones(min(k, _DEPTH) * width + tile.depth * width if sums else 0, np.uint8)
    for k0 in range(0, k, _DEPTH):
        part = min(_DEPTH, k - k0)
        words = -(-part // tile.depth)
        a = _pack_rows(tile, source + k0 * k_step, step, k_step, flip, rows, part, out)
        for p in range(count + sums):
            b = panels + p * panel_step + k0 * width if p < count else ones.ctypes.data
            columns = out[:, p * width : (p + 1) * width]
            r = 0
            while r < rows:
                height = _height(tile, rows - r, out)
                mine = a.ctypes.data + r * a.strides[0]
                _multiply(tile, height, mine, b, words, zero + 4 * p * width, columns, r, k0 > 0)
                r += height


@njit
def _multiply(tile, height, a, b, words, zero, out, r, add):
    tall, middle, _ = tile.heights
    if height == tall:
        multiply(tile, 0, a, b, words, zero, out, r, add)
    elif height == middle:
        multiply(tile, 1, a, b, words, zero, out, r, add)
    else:
        multiply(tile, 2, a, b, words, zero, out, r, add)


@njit
def pack_panels(tile, b, step, k_step, flip, columns, starts, places, out, sums):
    """Panels of `columns` columns of B, each group from its place on, and column sums of groups.

    The sums are products with a row of ones. A few entries of k at a time for all panels: B is read
    in long runs if its columns lie side by side, and what is written stays in the first cache.
    """
    ones = np.full(_STRIP, 0x01010101 if tile.depth == 4 else 0x00010001, np.uint32)
    for g in range(places.size - 1):
        for k in range(starts[g], starts[g + 1], _STRIP):
            part = min(_STRIP, starts[g + 1] - k)
            words = -(-part // tile.depth)
            place = places[g] + k - starts[g]
            for c in range(0, columns, tile.width):
                to = out + c * places[-1] + place * tile.width
                count = min(tile.width, columns - c)
                _pack_columns(tile, b + c * step + k * k_step, step, k_step, count, part, flip, to)
                total = sums[g : g + 1, c : c + tile.width]
                multiply(tile, 2, ones.ctypes.data, to, words, 0, total, 0, k > starts[g])


@njit
def pack_block(i, tile, source, n, groups, panels, sums):
    """COLUMNS columns of one of the matrices: panels (matrices, bytes), sums (.., groups, n)."""
    starts, places = groups
    addresses, step, k_step, flip = source
    matrix, i = divmod(i, -(-n // COLUMNS))
    first = i * COLUMNS
    columns = min(COLUMNS, n - first)
    out = panels[matrix].ctypes.data + first * places[-1]
    mine = sums[matrix, :, first:]
    b = addresses[matrix] + first * step
    pack_panels(tile, b, step, k_step, flip, columns, starts, places, out, mine)


@njit
def block_steps(m, n, batches):
    """Rows and columns of a block: few large ones, more where there is little to share out."""
    rows = -(-m // -(-m // _ROWS))
    rows = -(-rows // 12) * 12
    columns = COLUMNS
    while columns > COLUMNS // 4 and batches * -(-m // rows) * -(-n // columns) < 16:
        columns //= 2
    return rows, columns


@njit
def work_guess(rate, m, n, k):
    """Nanoseconds of serial work at `rate` products in a quarter of one, and some for packing."""
    return m * n * k // (4 * rate) + (m + n) * k // 8
