"""CSR x vector and CSR x dense: each row gathers what its entries point to.

A row's terms are summed in the order of its entries (in lanes, for one vector), whatever the other
rows and columns are: the same bits for any thread count and layout. Rows of more than LONG entries
are summed in pieces, a pass of their own, so that one row can not keep the other threads waiting.
"""

import numpy as np

from .._jit import njit
from ._csr_blocks import LONG, add_pieces, block_count, block_rows, cut_long_rows, longest_row
from ._csr_lanes import load, multiply_add, scale_by, store, zeros
from ._csr_panels import cut_columns, pack
from ._parallel import parallel

_U = np.uint64  # signed indices would be checked for wrap-around: 1.6-3.6 times slower
_SHORT = 32  # entries; below, the vectorized loop costs more than it gains
_REUSE = 50  # entries that read each row of b; from here on its packing pays


@njit(fastmath={"reassoc", "contract", "nsz"})
def _lane_dot(low, high, indices, data, x):
    total = x.dtype.type(0)
    for p in range(low, high):
        total += x.dtype.type(data[p]) * x[indices[p]]
    return total


@njit(fastmath={"contract"})
def _vector_block(b, begin, end, indices, data, scale, x, out):
    first, last = block_rows(b, begin)
    for r in range(first, last):
        low, high = _U(begin[r]), _U(end[r])
        if high - low > _U(LONG):
            continue
        total = x.dtype.type(0)
        if high - low >= _U(_SHORT):
            total = _lane_dot(low, high, indices, data, x)
        else:
            for p in range(low, high):
                total += x.dtype.type(data[p]) * x[indices[p]]
        out[r, 0] = total * scale[r] if scale.size else total


@njit
def _vector_rows(pool, begin, end, indices, data, scale, x, out):
    args = (begin, end, indices, data, scale, x, out)
    parallel(pool, _vector_block, block_count(begin), args, indices.size + begin.size)


@njit
def vector(pool, indptr, indices, data, scale, x, out):
    """out (rows, 1) = A x; False, with nothing written, if A's structure is broken."""
    longest = longest_row(pool, indptr, indices, x.size)
    if longest < 0:
        return False
    _vector_rows(pool, indptr[:-1], indptr[1:], indices, data, scale, x, out)
    if longest > LONG:
        rows, begin, end = cut_long_rows(indptr)
        pieces = np.empty((rows.size, 1), out.dtype)
        _vector_rows(pool, begin, end, indices, data, scale[:0], x, pieces)
        add_pieces(rows, pieces, scale, out)
    return True


@njit
def _panel(none, first, last, begin, end, indices, data, scale, b, stride, offset, out, column):
    """Rows of one panel of columns of the product: `none` is the accumulator before any entry."""
    n = _U(out.shape[1])
    for r in range(first, last):
        low, high = _U(begin[r]), _U(end[r])
        if high - low > _U(LONG):
            continue
        total = none
        for p in range(low, high):
            row = load(none, b, _U(indices[p]) * stride + offset)
            total = multiply_add(total, b.dtype.type(data[p]), row)
        if scale.size:
            total = scale_by(total, scale[r])
        store(total, out, _U(r) * n + column)


@njit
def _dense_block(i, begin, end, indices, data, scale, b, panels, out):
    # Panel by panel: all threads read the same one, which stays in cache.
    panel, block = divmod(i, block_count(begin))
    first, last = block_rows(block, begin)
    column, width, offset, stride = panels[panel]
    args = (first, last, begin, end, indices, data, scale, b, _U(stride), _U(offset), out)
    if width * b.itemsize == 256:
        _panel(zeros(b, 256), *args, _U(column))
    elif width * b.itemsize == 128:
        _panel(zeros(b, 128), *args, _U(column))
    else:
        _panel(zeros(b, 64), *args, _U(column))


@njit
def _dense_rows(pool, begin, end, indices, data, scale, b, panels, out):
    args = (begin, end, indices, data, scale, b, panels, out)
    work = (indices.size + begin.size) * out.shape[1] // 16
    parallel(pool, _dense_block, len(panels) * block_count(begin), args, work)


@njit
def dense(pool, indptr, indices, data, scale, b, transposed, out):
    """out = A b, or A b.T if `transposed`; at least 64 bytes of columns; False as in `vector`."""
    columns = b.shape[1] if transposed else b.shape[0]
    longest = longest_row(pool, indptr, indices, columns)
    if longest < 0:
        return False
    panels = cut_columns(out.shape[1], b.itemsize)
    flat = b.reshape(-1)
    if transposed or indices.size > _REUSE * columns:
        flat = pack(pool, b, transposed, panels)
    _dense_rows(pool, indptr[:-1], indptr[1:], indices, data, scale, flat, panels, out)
    if longest > LONG:
        rows, begin, end = cut_long_rows(indptr)
        pieces = np.empty((rows.size, out.shape[1]), out.dtype)
        _dense_rows(pool, begin, end, indices, data, scale[:0], flat, panels, pieces)
        add_pieces(rows, pieces, scale, out)
    return True
