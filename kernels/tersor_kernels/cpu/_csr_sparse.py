"""CSR x CSR by Gustavson's algorithm: a row of the product is a sum of rows of B.

Two passes, the first to count. The columns of a row are put in order by a bitmap of those in use
(a second level says which words of it are): linear, where sorting costs more than the product.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .._jit import njit
from ._csr_blocks import longest_row
from ._parallel import parallel

_U = np.uint64
_WORK = 65536  # products in a block, or as many as there are columns, to pay for its scratch


@intrinsic
def _lowest_bit(typingctx, word):
    """Number of zeros below the lowest bit of a uint64 that is not 0."""

    def codegen(context, builder, sig, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), codegen


@njit
def _products(a_indptr, a_indices, b_indptr, before):
    """Write the number of products in the rows of A before each, and of all in the end."""
    total = before[0] = 0
    for r in range(a_indptr.size - 1):
        for p in range(_U(a_indptr[r]), _U(a_indptr[r + 1])):
            k = _U(a_indices[p])
            total += np.int64(b_indptr[k + _U(1)]) - np.int64(b_indptr[k])
        before[r + 1] = total


@njit
def _block_bounds(before, work):
    """First rows of blocks of about `work` products, and the end."""
    blocks = before[-1] // work + 1
    bounds = np.empty(blocks + 1, np.int64)
    r = 0
    for b in range(blocks):
        while r < before.size - 1 and before[r] < b * work:
            r += 1
        bounds[b] = r
    bounds[0], bounds[blocks] = 0, before.size - 1
    return bounds


@njit
def _count_block(b, bounds, a_indptr, a_indices, b_indptr, b_indices, columns, counts):
    seen = np.full(columns, -1, np.int64)
    for r in range(bounds[b], bounds[b + 1]):
        count = 0
        for p in range(_U(a_indptr[r]), _U(a_indptr[r + 1])):
            k = _U(a_indices[p])
            for q in range(_U(b_indptr[k]), _U(b_indptr[k + _U(1)])):
                j = b_indices[q]
                count += seen[j] != r
                seen[j] = r
        counts[r] = count


@njit(fastmath={"contract"})
def _sum_block(b, bounds, a_indptr, a_indices, a_data, b_indptr, b_indices, b_data, columns, out):
    indptr, indices, data, counts = out
    sums = np.empty(columns, data.dtype)
    used = np.zeros(columns // 64 + 1, np.uint64)
    words = np.zeros(columns // 4096 + 1, np.uint64)
    for r in range(bounds[b], bounds[b + 1]):
        for p in range(_U(a_indptr[r]), _U(a_indptr[r + 1])):
            k, factor = _U(a_indices[p]), a_data[p]
            for q in range(_U(b_indptr[k]), _U(b_indptr[k + _U(1)])):
                j = _U(b_indices[q])
                word, bit = used[j >> _U(6)], _U(1) << (j & _U(63))
                if word & bit:
                    sums[j] += factor * b_data[q]
                else:
                    used[j >> _U(6)] = word | bit
                    words[j >> _U(12)] |= _U(1) << ((j >> _U(6)) & _U(63))
                    sums[j] = factor * b_data[q]
        start = end = _U(indptr[r])
        for top in range(_U(words.size)):
            while words[top]:
                w = (top << _U(6)) + _lowest_bit(words[top])
                words[top] &= words[top] - _U(1)
                word, used[w] = used[w], _U(0)
                while word:
                    j = (w << _U(6)) + _lowest_bit(word)
                    word &= word - _U(1)
                    if sums[j] != 0:  # as scipy: what cancels is not stored; NaN is
                        indices[end], data[end] = j, sums[j]
                        end += _U(1)
        counts[r] = end - start


@njit
def _close_gaps(indptr, counts, indices, data):
    """Move each row, of counts[r] entries at indptr[r], down to the end of the one before."""
    end = 0
    for r in range(counts.size):
        start = indptr[r]
        indptr[r] = end
        if start == end:
            end += counts[r]
            continue
        for p in range(start, start + counts[r]):
            indices[end], data[end] = indices[p], data[p]
            end += 1
    indptr[counts.size] = end
    return end


@njit
def is_valid(pool, indptr, indices, columns):
    """Whether the structure can be read through."""
    return longest_row(pool, indptr, indices, columns) >= 0


def product(pool, a_indptr, a_indices, a_data, b_indptr, b_indices, b_data, columns):
    """indptr, indices and data of A B, in canonical form; the structures have been checked."""
    before, indptr = np.empty(a_indptr.size, np.int64), np.zeros(a_indptr.size, np.int64)
    a, b = (a_indptr, a_indices), (b_indptr, b_indices)
    _count(pool, *a, *b, columns, before, indptr)
    indices, data = np.empty(indptr[-1], a_indices.dtype), np.empty(indptr[-1], a_data.dtype)
    end = _fill(pool, *a, a_data, *b, b_data, columns, before, indptr, indices, data)
    return indptr, indices[:end], data[:end]


@njit
def _count(pool, a_indptr, a_indices, b_indptr, b_indices, columns, before, indptr):
    """Write how many products there are, and where the rows of the result begin at the latest."""
    _products(a_indptr, a_indices, b_indptr, before)
    bounds = _block_bounds(before, max(_WORK, columns))
    args = (bounds, a_indptr, a_indices, b_indptr, b_indices, columns, indptr[1:])
    parallel(pool, _count_block, bounds.size - 1, args, 2 * before[-1])
    for r in range(indptr.size - 1):
        indptr[r + 1] += indptr[r]


@njit
def _fill(pool, a_indptr, a_indices, a_data, b_indptr, b_indices, b_data, columns, before, *result):
    """Write the result; how many entries it has."""
    indptr, indices, data = result
    counts = np.empty(indptr.size - 1, np.int64)
    bounds = _block_bounds(before, max(_WORK, columns))
    out = (indptr, indices, data, counts)
    args = (bounds, a_indptr, a_indices, a_data, b_indptr, b_indices, b_data, columns, out)
    parallel(pool, _sum_block, bounds.size - 1, args, 4 * before[-1])
    return _close_gaps(indptr, counts, indices, data)
