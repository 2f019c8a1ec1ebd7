"""The engine of the reductions: one summation tree for every memory layout.

The n elements of one result, in logical order, are cut into leaves of LEAF; element i of a leaf
goes to lane i % LANES; a lane takes 8 elements at a time, merged as a balanced tree, what is left
one by one; the lanes are merged by halving, the leaves in order. Which elements meet in which order
thus depends on n alone, and results have the same bits for any strides and any number of threads.

In memory the elements are (outer, n1 * n2, inner) with a stride, in elements, for each of the four;
results are (outer, inner). A tile, one leaf of w neighbours along inner, is folded in the way that
its strides allow:

    RUN     elements are contiguous: one result at a time, LANES contiguous lanes
    DENSE   elements are contiguous rows of w: LANES * w contiguous lanes
    WIDE    rows of w are contiguous, but apart: a lane at a time, 8 rows of it
    GATHER  anything else: a few rows are copied together, then DENSE

What an operation does with elements and accumulators is its core, a native function (`_native`):
a new operation or dtype compiles that alone.
"""

from functools import cache

import numpy as np

from .._jit import njit
from ._common import BLOCK
from ._native import address, array_at, at, call, run
from ._parallel import workers
from ._reduce_ops import (
    CENTRED,
    PARTS,
    SETTLED,
    LogSumExp,
    accumulator,
    centre,
    identity,
    lift,
    load,
    merge,
    result_type,
    store,
)

LANES, LEAF = 16, 4096
_GROUP = 8 * LANES
_MAX_WIDTH = 1024  # columns of a tile: runs of 4 KB of float32, and lanes that stay in an L2 cache
_GATHERED = 16384  # elements that a tile copies together at a time
RUN, DENSE, WIDE, GATHER = range(4)
_CLEAR, _FOLD, _MERGE, _STORE = range(4)
# What a block finds in its int64 arguments, in this order.
(
    _X, _OUT, _FLAGS, _CODE, _CENTRE_CODE, _COPY_CODE,
    _PLANES, _LEAVES, _PROBE, _FINAL, _MODE, _WIDTH, _COLUMNS, _PLACES,
    _OUTER, _SO, _N1, _S1, _N2, _S2, _INNER, _SI,
) = range(22)  # fmt: skip
_u = np.uintp  # an unsigned index can not wrap round, so that the loop vectorizes


def _core(kind, dtype):
    """core(job, a, size, start, x, offset, stride, rows, n): one of four jobs on n accumulators.

    Accumulators are a[start...], their parts and then their centre `size` apart.
    _CLEAR   make them the identity
    _FOLD    merge rows of n elements from x[offset] on, `stride` apart
    _MERGE   merge those that are `stride` further on
    _STORE   x[offset...] = a[start...], one number each, in the dtype of the result
    """
    lane, result, parts = accumulator(kind, dtype), result_type(kind, dtype), PARTS.get(kind, 1)
    op, one = kind(), identity(kind, dtype)

    @njit
    def core(job, a, size, start, x, offset, stride, rows, n):
        a, out, x = array_at(a, lane), array_at(x, result), array_at(x, dtype)
        size, start, stride, n, i = _u(size), _u(start), _u(stride), _u(n), _u(offset)
        if job == _CLEAR:
            for part in range(parts):
                for j in range(n):
                    a[_u(part) * size + start + j] = one
        elif job == _MERGE:
            for j in range(start, start + n):
                other = load(op, a, size, j + stride)
                store(op, a, size, j, merge(op, load(op, a, size, j), other))
        elif job == _STORE:
            for j in range(n):
                out[i + j] = a[start + j]
        else:
            for _ in range(rows // 8):
                for j in range(n):
                    p, q = i + j, start + j
                    c = centre(op, a, size, q)
                    e0, e1 = lift(op, x[p], c), lift(op, x[p + stride], c)
                    e2, e3 = lift(op, x[p + _u(2) * stride], c), lift(op, x[p + _u(3) * stride], c)
                    e4, e5 = lift(op, x[p + _u(4) * stride], c), lift(op, x[p + _u(5) * stride], c)
                    e6, e7 = lift(op, x[p + _u(6) * stride], c), lift(op, x[p + _u(7) * stride], c)
                    low = merge(op, merge(op, e0, e1), merge(op, e2, e3))
                    high = merge(op, merge(op, e4, e5), merge(op, e6, e7))
                    group = merge(op, low, high)
                    store(op, a, size, q, merge(op, load(op, a, size, q), group))
                i += _u(8) * stride
            for _ in range(rows % 8):
                for j in range(n):
                    q = start + j
                    e = lift(op, x[i + j], centre(op, a, size, q))
                    store(op, a, size, q, merge(op, load(op, a, size, q), e))
                i += stride
        return 0

    return core


def _copier(dtype):
    """copy(x, out, p, q, m, ps, qs, n, pt, qt): an (m, n) block between any strides."""

    @njit
    def copy(x, out, p, q, m, ps, qs, n, pt, qt):
        x, out = array_at(x, dtype), array_at(out, dtype)
        p, ps, pt, q, qs, qt = _u(p), _u(ps), _u(pt), _u(q), _u(qs), _u(qt)
        for _ in range(m):
            a, b = p, q
            for _ in range(n):
                out[b] = x[a]
                a += pt
                b += qt
            p += ps
            q += qs
        return 0

    return copy


@cache
def core(kind, dtype):
    """Address of an operation's core, and what keeps it alive."""
    function = _core(kind, dtype)
    return address(function, 9), function


@cache
def _copy(itemsize):
    function = _copier(np.dtype(f"u{itemsize}"))
    return address(function, 10), function


@njit
def _gather(args, offset, first, rows, w, out):
    """out[r * w + j] = element first + r of column j, walking memory as it lies."""
    x, n2, copy = at(args, _X), at(args, _N2), at(args, _COPY_CODE)
    s1, s2, si = at(args, _S1), at(args, _S2), at(args, _SI)
    across = abs(s1) < abs(s2)
    begin, end = first // n2, -((-first - rows) // n2)
    stride, step = s2, w
    if across:
        begin, end, stride, step = np.int64(0), n2, s1, n2 * w
    for i in range(begin, end):
        if across:  # the rows i1 * n2 + i
            low, high = -((i - first) // n2), -((i - first - rows) // n2)
            p, q = offset + i * s2 + low * s1, (low * n2 + i - first) * w
        else:  # the rows i * n2 + i2
            low, high = max(first, i * n2), min(first + rows, (i + 1) * n2)
            p, q = offset + i * s1 + (low - i * n2) * s2, (low - first) * w
        if w > 1 and abs(si) <= abs(stride):
            call(copy, (x, out, p, q, high - low, stride, step, w, si, 1))
        else:
            call(copy, (x, out, p, q, w, si, 1, high - low, stride, step))


@njit
def _fold_dense(code, a, size, x, offset, rows, w):
    """Merge `rows` contiguous rows of w, a lane each in turn."""
    n, rest = LANES * w, rows % LANES * w
    call(code, (_FOLD, a, size, 0, x, offset, n, rows // LANES, n))
    call(code, (_FOLD, a, size, 0, x, offset + (rows * w - rest), n, 1, rest))


@njit
def _fold_wide(code, a, size, x, offset, stride, rows, w):
    """Merge rows of w that are `stride` apart."""
    full = rows // _GROUP * _GROUP
    for r in range(0, full, _GROUP):
        for lane in range(LANES):
            first = offset + (r + lane) * stride
            call(code, (_FOLD, a, size, lane * w, x, first, LANES * stride, 8, w))
    for r in range(full, rows):
        call(code, (_FOLD, a, size, r % LANES * w, x, offset + r * stride, stride, 1, w))


@njit
def _fold_tile(code, a, size, args, offset, first, rows, w, copy):
    """Fold elements first..first+rows of w columns into the accumulators from a on."""
    mode, x = at(args, _MODE), at(args, _X)
    s2 = at(args, _S2)
    used, half = min(LANES, rows), LANES // 2
    call(code, (_CLEAR, a, size, 0, 0, 0, 0, 0, max(1, used) * w))
    if mode == WIDE:
        _fold_wide(code, a, size, x, offset + first * s2, s2, rows, w)
    elif mode == GATHER:
        step = max(_GROUP, _GATHERED // w // _GROUP * _GROUP)
        for r in range(0, rows, step):
            count = min(step, rows - r)
            _gather(args, offset, first + r, count, w, copy)
            _fold_dense(code, a, size, copy, 0, count, w)
    else:
        _fold_dense(code, a, size, x, offset + first * s2, rows, w)
    while half > 0:
        if used > half:
            call(code, (_MERGE, a, size, 0, 0, 0, half * w, 0, (used - half) * w))
            used = half
        half //= 2


@njit
def _find_centres(args, a, size, offset, first, rows, w, copy):
    """Set the plane of centres, for every lane, from the first few elements or, if NaN, all."""
    code, probe = at(args, _CENTRE_CODE), min(rows, at(args, _PROBE))
    centres, plane = array_at(a, np.float64), (at(args, _PLANES) - 1) * size
    _fold_tile(code, a, size, args, offset, first, probe, w, copy)
    for j in range(w):
        if centres[_u(j)] != centres[_u(j)] and probe < rows:
            _fold_tile(code, a, size, args, offset, first, rows, w, copy)
            break
    for lane in range(min(LANES, rows)):
        for j in range(w):
            centres[_u(plane + lane * w + j)] = centres[_u(j)]


@njit
def _fold_block(b, args, scratch):
    """One leaf of some columns, of some outer places if those are small."""
    outer, inner, n = at(args, _OUTER), at(args, _INNER), at(args, _N1) * at(args, _N2)
    width, columns, places = at(args, _WIDTH), at(args, _COLUMNS), at(args, _PLACES)
    code, planes, leaves = at(args, _CODE), at(args, _PLANES), at(args, _LEAVES)
    flags, flagged = array_at(at(args, _FLAGS), np.uint8), at(args, _FLAGS) != 0
    b, chunk = divmod(b, -(-inner // columns))
    b, leaf = divmod(b, leaves)
    first = leaf * LEAF
    rows = min(LEAF, n - first)
    size = min(LANES, rows) * width
    a, copy = scratch, scratch + 8 * planes * size
    for o in range(b * places, min(outer, (b + 1) * places)):
        for c in range(chunk * columns, min(inner, (chunk + 1) * columns), width):
            result = _u(o * inner + c)
            offset = o * at(args, _SO) + c * at(args, _SI)
            w = min(width, inner - c)
            settled = flagged and flags[result] != 0
            if at(args, _CENTRE_CODE) != 0:
                _find_centres(args, a, size, offset, first, rows, w, copy)
            _fold_tile(code, a, size, args, offset, first, 0 if settled else rows, w, copy)
            for plane in range(planes):
                to = (plane * leaves + leaf) * outer * inner + o * inner + c
                call(code, (_STORE, a, size, plane * size, at(args, _OUT), to, 0, 0, w))
            if flagged and w == 1 and array_at(a, np.uint8)[_u(0)] == at(args, _FINAL):
                flags[result] = 1
    return 0


@cache
def _block():
    return address(_fold_block, 3)


def fold(kind, x, place):
    """Fold `x`, its elements at `place`: (planes, leaves, outer, inner), a leaf's accumulators.

    place : (outer, its stride, n1, its stride, n2, its stride, inner, its stride), in elements.
    Planes are the parts of an accumulator, then the centre where the operation has one.
    """
    outer, so, n1, s1, n2, s2, inner, si = place
    n = n1 * n2
    if n1 == 1:
        s1 = n2 * s2  # it would not matter, but the gatherer walks the smallest stride innermost
    leaf, leaves = min(n, LEAF), -(-n // LEAF)
    if n1 == 1 and s2 == 1 and (leaf > 64 or inner == 1):
        mode, width = RUN, 1
    elif n1 == 1 and si == 1 and s2 == inner and inner <= _MAX_WIDTH:
        mode, width = DENSE, inner
    elif n1 == 1 and si == 1 and inner >= 64:
        mode, width = WIDE, min(inner, _MAX_WIDTH)
    else:
        alone = leaf > 64 and min(abs(s1), abs(s2)) < abs(si)  # each result's elements are near
        mode, width = GATHER, 1 if alone else min(inner, _GATHERED // min(leaf, _GROUP), _MAX_WIDTH)
    columns = min(inner, max(1, BLOCK // (leaf * width)) * width)
    places = max(1, BLOCK // (leaf * columns)) if columns == inner and leaves == 1 else 1
    blocks = -(-outer // places) * leaves * -(-inner // columns)

    planes = PARTS.get(kind, 1) + (kind in CENTRED)
    out = np.empty((planes, leaves, outer, inner), result_type(kind, x.dtype))
    flags = np.zeros(outer * inner, np.uint8) if kind in SETTLED else None
    args = np.array(
        [
            x.ctypes.data,
            out.ctypes.data,
            0 if flags is None else flags.ctypes.data,
            core(kind, x.dtype)[0],
            core(CENTRED[kind], x.dtype)[0] if kind in CENTRED else 0,
            _copy(x.itemsize)[0] if mode == GATHER else 0,
            planes,
            leaves,
            LEAF if kind is LogSumExp else 1,
            SETTLED.get(kind, 0),
            mode,
            width,
            columns,
            places,
            outer,
            so,
            n1,
            s1,
            n2,
            s2,
            inner,
            si,
        ],
        np.int64,
    )
    copied = min(leaf * width, max(_GATHERED, _GROUP * width)) if mode == GATHER else 0
    scratch = 8 * planes * min(LANES, leaf) * width + copied * x.itemsize
    work = n * outer * inner * x.itemsize // 16 * (8 if kind is LogSumExp else 1)
    run(workers(), _block(), blocks, args, scratch, work)
    return out
