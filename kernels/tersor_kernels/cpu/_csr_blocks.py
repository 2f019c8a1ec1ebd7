"""Checks of a CSR structure, and its cutting into blocks of equal work."""

import numpy as np

from .._jit import njit
from ._parallel import parallel

WORK = 16384  # rows + entries of a block: 10-20 us of a product with one vector
LONG = 8192  # entries; a longer row is cut, always at the same places of the row
_CHECK = 65536  # rows and entries checked in one block


@njit
def _check_block(b, indptr, indices, columns, longest):
    """Longest of some rows; -1 if indptr falls among them or some column is out of range."""
    low = b * _CHECK
    begin, end = indptr[low:-1][:_CHECK], indptr[low + 1 :][:_CHECK]
    most, falls = np.int64(0), False
    for i in range(begin.size):
        length = np.int64(end[i]) - np.int64(begin[i])
        most = max(most, length)
        falls |= length < 0
    part = indices[low : low + _CHECK]
    largest = indices.dtype.type(0)
    for i in range(part.size):
        largest = max(largest, part[i])
    outside = part.size > 0 and np.uint64(largest) >= np.uint64(columns)
    longest[b] = -1 if falls or outside else most


@njit
def longest_row(pool, indptr, indices, columns):
    """Entries of the longest row; -1 if the structure must not be read through."""
    entries = np.int64(indptr[-1])
    if indptr[0] != 0 or entries < 0 or entries > indices.size:
        return np.int64(-1)
    blocks = max(entries, indptr.size) // _CHECK + 1
    longest = np.empty(blocks, np.int64)
    work = (entries + indptr.size) // 16
    parallel(pool, _check_block, blocks, (indptr, indices[:entries], columns, longest), work)
    most = np.int64(0)
    for b in range(blocks):
        most = max(most, longest[b]) if longest[b] >= 0 and most >= 0 else np.int64(-1)
    return most


@njit
def _first_row(begin, target):
    """First row r with begin[r] - begin[0] + r >= target; the number of rows if there is none."""
    low, high = 0, begin.size
    while low < high:
        middle = (low + high) // 2
        if np.int64(begin[middle]) - np.int64(begin[0]) + middle < target:
            low = middle + 1
        else:
            high = middle
    return low


@njit
def block_count(begin):
    """Blocks of rows that begin at these entries."""
    rows = begin.size
    return 1 + (np.int64(begin[-1]) - np.int64(begin[0]) + rows - 1) // WORK if rows else 0


@njit
def block_rows(b, begin):
    """First row of block number b, and the first after it."""
    return _first_row(begin, b * WORK), _first_row(begin, (b + 1) * WORK)


@njit
def cut_long_rows(indptr):
    """Row, begin and end of the pieces, of LONG entries at most, of each row that is longer."""
    pieces = 0
    for r in range(indptr.size - 1):
        length = np.int64(indptr[r + 1]) - np.int64(indptr[r])
        pieces += -(-length // LONG) if length > LONG else 0
    rows = np.empty(pieces, np.int64)
    begin, end = np.empty(pieces, indptr.dtype), np.empty(pieces, indptr.dtype)
    i = 0
    for r in range(indptr.size - 1):
        low, high = np.int64(indptr[r]), np.int64(indptr[r + 1])
        if high - low > LONG:
            for piece in range(low, high, LONG):
                rows[i], begin[i], end[i] = r, piece, min(piece + LONG, high)
                i += 1
    return rows, begin, end


@njit
def add_pieces(rows, pieces, scale, out):
    """out[r] = scale[r] * the sum of the pieces of each row r in `rows`, in their order."""
    for i in range(rows.size):
        r = rows[i]
        first, last = i == 0 or rows[i - 1] != r, i + 1 == rows.size or rows[i + 1] != r
        factor = scale[r] if last and scale.size else out.dtype.type(1)
        for j in range(out.shape[1]):
            total = pieces[i, j] if first else out[r, j] + pieces[i, j]
            out[r, j] = total * factor
