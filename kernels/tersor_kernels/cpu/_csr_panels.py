"""Panels: stretches of columns of a dense array, as wide as an accumulator in registers."""

import numpy as np

from .._jit import njit
from ._parallel import parallel

_TILE = 256  # rows packed in one block


@njit
def cut_columns(n, itemsize):
    """Panels of 256, 128 or 64 bytes that cover n columns (64 bytes at least).

    Rows of (first column, width, offset and stride of its rows in the C-contiguous array). The last
    panel may overlap the one before; both give the same bits there.
    """
    widest = 256 // itemsize
    panels = np.empty((n // widest + 3, 4), np.int64)
    count = covered = 0
    while covered < n:
        width = widest
        while width > n or (width > widest // 4 and width // 2 >= n - covered):
            width //= 2
        start = min(covered, n - width)
        panel = panels[count]
        panel[0], panel[1], panel[2], panel[3] = start, width, start, n
        covered = start + width
        count += 1
    return panels[:count]


@njit
def _pack_block(i, b, transposed, rows, panels, packed):
    tiles = -(-rows // _TILE)
    panel, tile = divmod(i, tiles)
    start, width, offset, _ = panels[panel]
    low, high = tile * _TILE, min((tile + 1) * _TILE, rows)
    if transposed:
        for row in range(low, high, 16):  # a cache line of each column at a time
            for j in range(width):
                column = b[start + j, row : min(row + 16, high)]
                for k in range(column.size):
                    packed[offset + (row + k) * width + j] = column[k]
    else:
        for row in range(low, high):
            source, target = b[row, start : start + width], packed[offset + row * width :]
            for j in range(source.size):
                target[j] = source[j]


@njit
def pack(pool, b, transposed, panels):
    """Each panel of b (of b.T if `transposed`) in one piece; `panels` gets the new offsets."""
    rows = b.shape[1] if transposed else b.shape[0]
    offset = 0
    for panel in range(len(panels)):
        width = panels[panel, 1]
        panels[panel, 2], panels[panel, 3] = offset, width
        offset += rows * width
    packed = np.empty(offset, b.dtype)
    blocks = len(panels) * -(-rows // _TILE)
    parallel(pool, _pack_block, blocks, (b, transposed, rows, panels, packed), offset)
    return packed
