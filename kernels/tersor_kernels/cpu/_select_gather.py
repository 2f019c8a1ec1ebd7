"""Copies of rows that lie strided in memory: selection goes over them more than once."""

from functools import cache

import numpy as np
from numba import types
from numba.extending import intrinsic

from .._jit import njit
from ._common import BLOCK
from ._ir import pointer
from ._native import address, at, data_of, run_blocks
from ._parallel import workers
from ._select_lanes import size_of
from ._stream import copy
from ._strided import transpose

# A copy takes up to this share of the input, but then not less than so many bytes.
_SHARE, _BYTES = 8, 2**25
_SIDE = 64  # rows of a tile
# The job: entries from X on, each (outer, inner) place a row of n, by strides in bytes; OUT.
_X, _OUT, _OUTER, _INNER, _N, _SO, _SI, _SN, _ROWS, _WIDTH, _FIELDS = range(11)


def parts(x):
    """Contiguous parts of `x`, along its first axis, and the indices that they have."""
    if x.ndim < 2 or x.nbytes <= _BYTES or is_contiguous(x):
        return ((contiguous(x), ...),)
    step = max(1, len(x) * max(x.nbytes // _SHARE, _BYTES) // x.nbytes)
    cuts = (slice(i, i + step) for i in range(0, len(x), step))
    return ((contiguous(x[cut]), cut) for cut in cuts)


def contiguous(x):
    """`x`, or a copy of it, C-contiguous, aligned and in native byte order."""
    if is_contiguous(x):
        return x
    levels = _levels(x.shape[:-1], x.strides[:-1]) if x.ndim else None
    if x.size < BLOCK or levels is None or not x.dtype.isnative:
        return np.array(x, x.dtype.newbyteorder("="), order="C")
    out = np.empty(x.shape, x.dtype)
    last = x.shape[-1], x.strides[-1], x.itemsize
    _gather(workers(), _code(x.itemsize)[0], id(x), id(out), *levels, *last)
    return out


def is_contiguous(x):
    """C-contiguous, aligned and in native byte order."""
    flags = x.flags
    return flags.c_contiguous and flags.aligned and x.dtype.isnative


def _levels(shape, strides):
    """(outer, inner, their strides) of the rows; None if they take more than two strides."""
    levels = []
    for n, stride in zip(shape, strides, strict=True):
        if n == 1:
            continue
        if levels and levels[-1][1] == n * stride:
            levels[-1] = levels[-1][0] * n, stride
        else:
            levels.append((n, stride))
    if len(levels) > 2:
        return None
    (outer, so), (inner, si) = [(1, 0)] * (2 - len(levels)) + levels
    return outer, inner, so, si


@njit
def _gather(pool, code, x, out, outer, inner, so, si, n, sn, size):
    job = np.empty(_FIELDS, np.int64)
    job[_X], job[_OUT], job[_OUTER], job[_INNER], job[_N] = (
        data_of(x),
        data_of(out),
        outer,
        inner,
        n,
    )
    job[_SO], job[_SI], job[_SN] = so, si, sn
    job[_ROWS] = min(inner, max(_SIDE, BLOCK // n))
    job[_WIDTH] = min(n, max(_SIDE, BLOCK // job[_ROWS]))
    blocks = outer * -(-inner // job[_ROWS]) * -(-n // job[_WIDTH])
    run_blocks(pool, code, blocks, job, 0, outer * inner * n // 2)


@cache
def _code(size):
    function = _gather_tile(np.dtype(f"u{size}"))
    return address(function, 3), function


def _gather_tile(dtype):
    """A block: some entries of some rows that are neighbours."""
    small, large = 8, max(8, min(16, 64 // dtype.itemsize))  # with 16, whole lines are written

    @njit
    def gather_tile(b, job, scratch):
        size, n, inner = size_of(dtype), at(job, _N), at(job, _INNER)
        rows, width = at(job, _ROWS), at(job, _WIDTH)
        b, part = divmod(b, -(-n // width))
        o, group = divmod(b, -(-inner // rows))
        i, j = group * rows, part * width
        rows, width = min(rows, inner - i), min(width, n - j)
        si, sn = at(job, _SI), at(job, _SN)
        x = at(job, _X) + o * at(job, _SO) + i * si + j * sn
        out = at(job, _OUT) + ((o * inner + i) * n + j) * size
        if sn == size:
            for r in range(rows):
                copy(out + r * n * size, x + r * si, width * size)
            return 0
        row = first = 0
        if si == size and min(rows, width) >= large:
            row, first = rows - rows % large, width - width % large
            for c in range(0, first, large):
                for r in range(0, row, large):
                    target = out + (r * n + c) * size
                    transpose(dtype, large, x + r * size + c * sn, sn, target, n * size, large)
        elif si == size and min(rows, width) >= small:
            row, first = rows - rows % small, width - width % small
            for c in range(0, first, small):
                for r in range(0, row, small):
                    target = out + (r * n + c) * size
                    transpose(dtype, small, x + r * size + c * sn, sn, target, n * size, small)
        _copy_rows(dtype, x, out, 0, row, first, width, si, sn, n * size)
        _copy_rows(dtype, x, out, row, rows, 0, width, si, sn, n * size)
        return 0

    return gather_tile


@njit
def _copy_rows(dtype, x, out, row, rows, first, width, si, sn, step):
    """One by one, along the smaller stride: unaligned entries too."""
    if rows - row > 1 and abs(si) < abs(sn):
        for j in range(first, width):
            for r in range(row, rows):
                _move(dtype, x + r * si + j * sn, out + r * step + j * size_of(dtype))
    else:
        for r in range(row, rows):
            for j in range(first, width):
                _move(dtype, x + r * si + j * sn, out + r * step + j * size_of(dtype))


@intrinsic
def _move(typingctx, dtype, source, target):
    """Copy an entry between addresses that need not be aligned."""
    entry = dtype.dtype

    def codegen(context, builder, sig, args):
        kind = context.get_value_type(entry)
        value = builder.load(pointer(builder, args[1], kind), align=1)
        builder.store(value, pointer(builder, args[2], kind), align=1)
        return context.get_dummy_value()

    return types.void(dtype, types.int64, types.int64), codegen
