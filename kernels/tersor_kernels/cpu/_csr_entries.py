"""Work on the entries of a CSR array one by one: sampled products, conversion, quantization."""

import numpy as np

from .._jit import njit
from ._common import BLOCK, rows_per_block
from ._parallel import parallel


@njit(fastmath={"reassoc", "contract", "nsz"})
def _dot(x, y):
    total = x.dtype.type(0)
    for i in range(x.size):
        total += x[i] * y[i]
    return total


@njit
def _sampled_block(b, step, indptr, indices, x, y, out):
    low, high = b * step, min((b + 1) * step, out.size)
    r = np.searchsorted(indptr, low, side="right") - 1
    for p in range(low, high):
        while indptr[r + 1] <= p:
            r += 1
        out[p] = _dot(x[r], y[indices[p]])


@njit
def sampled(pool, indptr, indices, x, y, out):
    """out[p] = x[row of p] . y[column of p] for a structure that has been checked."""
    step = rows_per_block(x.shape[1])
    args = (step, indptr, indices, x, y, out)
    parallel(pool, _sampled_block, -(-out.size // step), args, out.size * (x.shape[1] // 8 + 4))


@njit
def _count_block(b, w, keep, counts):
    step = rows_per_block(w.shape[1])
    for r in range(b * step, min(len(w), (b + 1) * step)):
        row, kept = w[r], keep[r]
        count = 0
        for j in range(row.size):
            count += kept[j] & (row[j] != 0)
        counts[r] = count


@njit
def _fill_block(b, w, keep, indptr, indices, data):
    step = rows_per_block(w.shape[1])
    for r in range(b * step, min(len(w), (b + 1) * step)):
        row, kept = w[r], keep[r]
        columns, values = indices[indptr[r] : indptr[r + 1]], data[indptr[r] : indptr[r + 1]]
        i = 0
        for j in range(row.size):
            if kept[j] & (row[j] != 0):
                columns[i], values[i] = j, row[j]
                i += 1


@njit
def count(pool, w, keep, indptr):
    """Write the indptr of the entries of w that are kept and not 0; its first is 0."""
    blocks = -(-len(w) // rows_per_block(w.shape[1]))
    parallel(pool, _count_block, blocks, (w, keep, indptr[1:]), w.size // 2)
    for r in range(len(w)):
        indptr[r + 1] += indptr[r]


@njit
def fill(pool, w, keep, indptr, indices, data):
    """Write the entries that `count` counted."""
    blocks = -(-len(w) // rows_per_block(w.shape[1]))
    parallel(pool, _fill_block, blocks, (w, keep, indptr, indices, data), w.size)


@njit
def _absmax_block(b, step, indptr, data, out):
    for r in range(b * step, min(out.size, (b + 1) * step)):
        row = data[indptr[r] : indptr[r + 1]]
        largest = data.dtype.type(0)
        for i in range(row.size):
            largest = max(largest, abs(row[i]))
        out[r] = largest


@njit
def absmax(pool, indptr, data, out):
    """out = the largest magnitude in each row, 0 where there is no entry."""
    step = max(1, BLOCK * out.size // max(data.size, 1))
    args = (step, indptr, data, out)
    parallel(pool, _absmax_block, -(-out.size // step), args, data.size // 2)


@njit
def _quantize_block(b, step, indptr, data, scale, out):
    most = data.dtype.type(127)
    for r in range(b * step, min(scale.size, (b + 1) * step)):
        row, result = data[indptr[r] : indptr[r + 1]], out[indptr[r] : indptr[r + 1]]
        for i in range(row.size):
            result[i] = np.int8(min(max(np.rint(row[i] / scale[r]), -most), most))


@njit
def quantize(pool, indptr, data, scale, out):
    """out = data / scale of the row, rounded half to even, in -127..127."""
    step = max(1, BLOCK * scale.size // max(data.size, 1))
    args = (step, indptr, data, scale, out)
    parallel(pool, _quantize_block, -(-scale.size // step), args, data.size)
