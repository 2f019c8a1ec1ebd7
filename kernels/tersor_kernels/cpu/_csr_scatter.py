"""CSR.T x vector and CSR.T x dense: each entry of A adds to the row of the result it points to.

The entries are cut into parts, by their number alone; each part and each panel of columns adds into
an array of its own, and these are summed in order: the same bits for any thread count.
"""

import numpy as np

from .._jit import njit
from ._csr_blocks import longest_row
from ._csr_lanes import load, multiply_add, scale_by, store, zeros
from ._csr_panels import cut_columns, pack
from ._parallel import parallel

_U = np.uint64
_TASKS = 16  # parts times panels: enough for many threads, few enough to sum
_FOLD = 1024  # rows of the result summed in one block


@njit
def _count_parts(entries, rows, panels):
    """Parts, each with enough entries (16 to a row) to pay for clearing and summing its array."""
    return max(1, min(_TASKS // panels, entries // (16 * rows + 4096)))


@njit
def _row_of(indptr, p):
    """The row that holds entry p."""
    low, high = 0, indptr.size - 1
    while high - low > 1:
        middle = (low + high) // 2
        if indptr[middle] <= p:
            low = middle
        else:
            high = middle
    return low


@njit(fastmath={"contract"})
def _vector_part(b, indptr, indices, data, scale, x, parts):
    out = parts[b]
    for k in range(out.size):
        out[k] = 0
    low, high = len(indices) * b // len(parts), len(indices) * (b + 1) // len(parts)
    r = _row_of(indptr, low)
    while low < high:
        factor = x[r] * scale[r] if scale.size else x[r]
        stop = min(high, np.int64(indptr[r + 1]))
        for p in range(_U(low), _U(stop)):
            k = _U(indices[p])
            out[k] += x.dtype.type(data[p]) * factor
        low = max(low, stop)
        r += 1


@njit
def _fold_vector(b, parts, out):
    for k in range(b * _FOLD, min((b + 1) * _FOLD, out.size)):
        total = parts[0, k]
        for part in range(1, len(parts)):
            total += parts[part, k]
        out[k] = total


@njit
def _sum_vectors(pool, parts, out):
    # Its own function, like _sum_panels: compiled once a dtype, not for every dtype of indices.
    parallel(pool, _fold_vector, -(-out.size // _FOLD), (parts, out), parts.size // 2)


@njit
def vector(pool, indptr, indices, data, scale, x, out):
    """out = A.T x; False, with nothing written, if A's structure is broken."""
    if longest_row(pool, indptr, indices, out.size) < 0:
        return False
    entries = np.int64(indptr[-1])
    parts = np.empty((_count_parts(entries, out.size, 1), out.size), out.dtype)
    args = (indptr, indices[:entries], data, scale, x, parts)
    parallel(pool, _vector_part, len(parts), args, 2 * entries)
    _sum_vectors(pool, parts, out)
    return True


@njit
def _panel(none, low, high, indptr, indices, data, scale, b, stride, offset, out):
    """Add entries low..high - 1, times one panel of b, into `out`, of as many columns."""
    width = _U(out.shape[1])
    for k in range(len(out)):
        store(none, out, _U(k) * width)
    r = _row_of(indptr, low)
    while low < high:
        row = load(none, b, _U(r) * stride + offset)
        if scale.size:
            row = scale_by(row, scale[r])
        stop = min(high, np.int64(indptr[r + 1]))
        for p in range(_U(low), _U(stop)):
            target = _U(indices[p]) * width
            total = multiply_add(load(none, out, target), b.dtype.type(data[p]), row)
            store(total, out, target)
        low = max(low, stop)
        r += 1


@njit
def _dense_part(i, parts, indptr, indices, data, scale, b, panels, offsets, sums):
    panel, part = divmod(i, parts)
    _, width, offset, stride = panels[panel]
    rows = (offsets[panel + 1] - offsets[panel]) // width
    out = sums[part, offsets[panel] : offsets[panel + 1]].reshape(rows, width)
    low, high = len(indices) * part // parts, len(indices) * (part + 1) // parts
    args = (low, high, indptr, indices, data, scale, b, _U(stride), _U(offset), out)
    if width * b.itemsize == 256:
        _panel(zeros(b, 256), *args)
    elif width * b.itemsize == 128:
        _panel(zeros(b, 128), *args)
    else:
        _panel(zeros(b, 64), *args)


@njit
def _fold_dense(b, sums, panels, offsets, out):
    for k in range(b * _FOLD, min((b + 1) * _FOLD, len(out))):
        for panel in range(len(panels)):
            start, width = panels[panel, 0], panels[panel, 1]
            target = out[k, start : start + width]
            source = offsets[panel] + k * width
            for part in range(len(sums)):
                row = sums[part, source : source + width]
                for j in range(row.size):
                    target[j] = row[j] if part == 0 else target[j] + row[j]


@njit
def _sum_panels(pool, sums, panels, offsets, out):
    args = (sums, panels, offsets, out)
    parallel(pool, _fold_dense, -(-len(out) // _FOLD), args, sums.size // 2)


@njit
def dense(pool, indptr, indices, data, scale, b, transposed, out):
    """out = A.T b, or A.T b.T if `transposed`; at least 64 bytes of columns; False as `vector`."""
    if longest_row(pool, indptr, indices, len(out)) < 0:
        return False
    entries = np.int64(indptr[-1])
    panels = cut_columns(out.shape[1], b.itemsize)
    offsets = np.zeros(len(panels) + 1, np.int64)
    for panel in range(len(panels)):
        offsets[panel + 1] = offsets[panel] + len(out) * panels[panel, 1]
    flat = pack(pool, b, transposed, panels) if transposed else b.reshape(-1)
    parts = _count_parts(entries, len(out), len(panels))
    sums = np.empty((parts, offsets[-1]), out.dtype)
    args = (parts, indptr, indices[:entries], data, scale, flat, panels, offsets, sums)
    parallel(pool, _dense_part, parts * len(panels), args, entries * out.shape[1] // 8)
    _sum_panels(pool, sums, panels, offsets, out)
    return True
