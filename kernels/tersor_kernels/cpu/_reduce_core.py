"""What a reduction does with elements and accumulators: a native function for each operation."""

from functools import cache

import numpy as np

from .._jit import njit
from ._native import LOCAL, address, array_at, local_array, prefetch
from ._reduce_ops import (
    ARGS,
    CENTRED,
    SETTLED,
    All,
    Any,
    accumulator,
    context,
    identity,
    join,
    lift,
    load,
    merge,
    parts_of,
    planes_of,
    result_type,
    store,
)
from ._stored import AsItIs, Truth, stored_as, widen

LANES = 16
GROUP = 8 * LANES
CLEAR, FOLD, RUN, NUMBER, MERGE, STORE, NARROW, TOTAL = range(8)
_AHEAD = 8192  # bytes: prefetching makes runs from memory up to twice as fast
_u = np.uintp  # an unsigned index can not wrap round, so that the loop vectorizes


@njit(cache=False, forceinline=True)
def _lift(op, form, element, c):
    return lift(op, widen(form, element), c)


@njit(cache=False, forceinline=True)
def _fold_group(op, form, a, size, q, x, p, stride, row):
    c0, c1 = context(op, a, size, q, row), context(op, a, size, q, row + 1)
    c2, c3 = context(op, a, size, q, row + 2), context(op, a, size, q, row + 3)
    c4, c5 = context(op, a, size, q, row + 4), context(op, a, size, q, row + 5)
    c6, c7 = context(op, a, size, q, row + 6), context(op, a, size, q, row + 7)
    e0, e1 = _lift(op, form, x[p], c0), _lift(op, form, x[p + stride], c1)
    e2, e3 = _lift(op, form, x[p + _u(2) * stride], c2), _lift(op, form, x[p + _u(3) * stride], c3)
    e4, e5 = _lift(op, form, x[p + _u(4) * stride], c4), _lift(op, form, x[p + _u(5) * stride], c5)
    e6, e7 = _lift(op, form, x[p + _u(6) * stride], c6), _lift(op, form, x[p + _u(7) * stride], c7)
    low = merge(op, merge(op, e0, e1), merge(op, e2, e3))
    high = merge(op, merge(op, e4, e5), merge(op, e6, e7))
    store(op, a, size, q, merge(op, load(op, a, size, q), merge(op, low, high)))


@njit(cache=False, forceinline=True)
def _step(op, form, a, size, q, value, element, row, there):
    following = merge(op, value, _lift(op, form, element, context(op, a, size, q, row)))
    return following if there else value


@njit(cache=False, forceinline=True)
def _fold_few(op, form, a, size, q, x, p, stride, count, row):
    """Merge 1 to 7 elements: all in one step, where what is not there changes nothing."""
    value, last = load(op, a, size, q), _u(count - 1)
    for t in range(7):
        element = x[p + min(_u(t), last) * stride]
        value = _step(op, form, a, size, q, value, element, row + t, t < count)
    store(op, a, size, q, value)


@njit(cache=False, forceinline=True)
def _fold_rest(op, form, a, stored, x, i, address, itemsize, rest, row):
    """Merge less than a group of neighbours, all lanes at once: what is not there changes nothing.

    One loop that is too large to be unrolled before it is vectorized: six times as fast.
    """
    for line in range(0, np.int64(rest) * itemsize, 64):
        prefetch(address + _AHEAD + line)
    lanes = _u(LANES)
    full, last = rest // lanes, local_array(stored)
    for j in range(rest % lanes):
        last[j] = x[i + full * lanes + j]
    spare, step = np.int64(last.ctypes.data), LANES * itemsize
    x0 = array_at(address if full > 0 else spare, stored)
    x1 = array_at(address + step if full > 1 else spare, stored)
    x2 = array_at(address + 2 * step if full > 2 else spare, stored)
    x3 = array_at(address + 3 * step if full > 3 else spare, stored)
    x4 = array_at(address + 4 * step if full > 4 else spare, stored)
    x5 = array_at(address + 5 * step if full > 5 else spare, stored)
    x6 = array_at(address + 6 * step if full > 6 else spare, stored)
    for j in range(lanes):
        value = load(op, a, lanes, j)
        value = _step(op, form, a, lanes, j, value, x0[j], row, j < rest)
        value = _step(op, form, a, lanes, j, value, x1[j], row + 1, j + lanes < rest)
        value = _step(op, form, a, lanes, j, value, x2[j], row + 2, j + _u(2) * lanes < rest)
        value = _step(op, form, a, lanes, j, value, x3[j], row + 3, j + _u(3) * lanes < rest)
        value = _step(op, form, a, lanes, j, value, x4[j], row + 4, j + _u(4) * lanes < rest)
        value = _step(op, form, a, lanes, j, value, x5[j], row + 5, j + _u(5) * lanes < rest)
        value = _step(op, form, a, lanes, j, value, x6[j], row + 6, j + _u(6) * lanes < rest)
        value = _step(op, form, a, lanes, j, value, last[j], row + 7, j + _u(7) * lanes < rest)
        store(op, a, lanes, j, value)


@njit(cache=False, forceinline=True)
def _join_at(op, a, size, j, distance):
    other = load(op, a, size, j + distance)
    store(op, a, size, j, join(op, load(op, a, size, j), other))


@njit(cache=False, forceinline=True)
def _fold_run(
    op,
    form,
    lane,
    stored,
    one,
    parts,
    planes,
    numbered,
    a,
    to,
    size,
    x,
    i,
    address,
    itemsize,
    rows,
    gap,
):
    # A function of its own, which LLVM optimizes before it is inlined: maxima are twice as fast.
    lanes, acc, group_bytes, row = _u(LANES), local_array(lane), GROUP * itemsize, 0
    for part in range(_u(parts)):
        for j in range(lanes):
            acc[part * lanes + j] = one if part == _u(0) else lane(0)
    if planes > parts:
        for j in range(lanes):
            acc[_u(planes - 1) * lanes + j] = a[_u(parts) * size + to]
    near = rows - _AHEAD // itemsize
    for _ in range(rows // GROUP):
        ahead = _AHEAD if GROUP // 8 * row < near else _AHEAD + gap
        for line in range(group_bytes // 64):
            prefetch(address + ahead + 64 * line)
        for j in range(lanes):
            _fold_group(op, form, acc, lanes, j, x, i + j, lanes, row)
        i += _u(GROUP)
        address += group_bytes
        row += 8
    rest = rows % GROUP
    if rest:
        _fold_rest(op, form, acc, stored, x, i, address, itemsize, _u(rest), row)
    if numbered:
        for j in range(lanes):
            acc[lanes + j] = acc[lanes + j] * lane(LANES) + lane(j)
    for j in range(_u(8)):
        _join_at(op, acc, lanes, j, _u(8))
    for j in range(_u(4)):
        _join_at(op, acc, lanes, j, _u(4))
    for j in range(_u(2)):
        _join_at(op, acc, lanes, j, _u(2))
    _join_at(op, acc, lanes, _u(0), _u(1))
    for part in range(_u(parts)):
        a[part * size + to] = acc[part * lanes]


# What a core calls is global: Numba's cache knows a function that is in a closure only as itself.
def _core(kind, dtype):
    """core(job, a, size, start, x, offset, stride, rows, n, row): a job on n accumulators.

    Accumulators are a[start...], their parts and then their centre `size` apart.
    CLEAR   make them the identity
    FOLD    merge rows of n elements from x[offset] on, `stride` apart; the first is number `row`
    RUN     make them the folds of n times `rows` neighbours in memory: each a leaf, in registers;
            `row` elements are skipped behind each
    NUMBER  elements are numbered within their lane: number those of lane `row` within the leaf
    MERGE   merge those that are `stride` further on
    STORE   x[offset...] = a[start...], one number each, in the dtype of the result
    NARROW  the same of float64 divided by `rows`, as float32
    TOTAL   merge results x[0...] with those that are `stride` further on
    """
    form, stored, dtype = stored_as(dtype)
    form = AsItIs() if form is Truth and kind in (Any, All) else form()
    lane, result, parts = accumulator(kind, dtype), result_type(kind, dtype), parts_of(kind, dtype)
    whole, flagged = planes_of(kind, dtype) == 1, planes_of(kind, dtype) < parts
    op, one, numbered, truth = kind(), identity(kind, dtype), kind in ARGS, kind in SETTLED
    narrowed = whole and result is np.float64
    planes = parts + (kind in CENTRED)
    bits, itemsize = np.dtype(f"u{np.dtype(lane).itemsize}"), stored.itemsize
    if planes * LANES > LOCAL:
        raise ValueError(f"{planes} planes of {LANES} lanes are more than {LOCAL} numbers")

    # As literals, Numba would compile what takes them anew for each value.
    parts, planes, itemsize = np.int64(parts), np.int64(planes), np.int64(itemsize)

    @njit
    def core(job, a, size, start, x, offset, stride, rows, n, row):
        address, to = x + offset * itemsize, x
        raw, out = array_at(a, bits), array_at(x, result)
        a, x = array_at(a, lane), array_at(x, stored)
        size, start, stride, n, i = _u(size), _u(start), _u(stride), _u(n), _u(offset)
        if job == RUN:
            for j in range(n):
                _fold_run(
                    op, form, lane, stored, one, parts, planes, numbered,
                    a, j, size, x, i, address, itemsize, rows, row * itemsize,
                )  # fmt: skip
                i += stride
                address += np.int64(stride) * itemsize
        elif job == CLEAR:
            for part in range(parts):
                value = one if part == 0 else lane(0)
                for j in range(n):
                    a[_u(part) * size + start + j] = value
        elif job == NUMBER:
            for j in range(size + start, size + start + n):
                a[j] = a[j] * lane(LANES) + lane(row)
        elif job == MERGE:
            for j in range(start, start + n):
                _join_at(op, a, size, j, stride)
        elif job == STORE:
            if numbered and start == 0:  # the bits of an extremum
                for j in range(n):
                    out[i + j] = raw[j]
            elif flagged:
                for j in range(n):
                    out[i + j] = a[start + j] if a[size + start + j] == 0 else np.nan
            elif truth:
                for j in range(n):
                    out[i + j] = a[start + j] != 0
            else:
                for j in range(n):
                    out[i + j] = a[start + j]
        elif job == NARROW:
            if narrowed:
                small, divisor = array_at(to, np.float32), float(rows)
                for j in range(n):
                    small[i + j] = np.float32(a[start + j] / divisor)
        elif job == TOTAL:
            if whole:
                for j in range(n):
                    out[j] = merge(op, out[j], out[j + stride])
        else:
            for _ in range(rows // 8):
                for j in range(n):
                    _fold_group(op, form, a, size, start + j, x, i + j, stride, row)
                i += _u(8) * stride
                row += 8
            if rows % 8:
                for j in range(n):
                    _fold_few(op, form, a, size, start + j, x, i + j, stride, rows % 8, row)
        return 0

    return core


@cache
def core(kind, dtype):
    """Address of an operation's core, and what keeps it alive."""
    function = _core(kind, dtype)
    return address(function, 10), function
