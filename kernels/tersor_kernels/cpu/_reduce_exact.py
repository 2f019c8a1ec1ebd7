"""Correctly rounded sums, as fast as memory where the exponents of neighbours are not far apart.

Elements are cut into leaves. In a leaf, with |x| < 2**t for its largest element, a sum that starts
at 1.5 * 2**k with k large enough stays between 2**k and 2**(k+1). It counts multiples of 2**(k-52):
what an addition cuts off an element is a float64, found without error, and is added to a second
sum of the same kind, 2**(52-L) times finer, where 2**L is no less than the number of elements.
Mostly nothing is left then, and the leaf's sum is exactly that of two float64. (Error-free vector
transformations of Rump, Ogita and Oishi; "binned" sums of Demmel, Ahrens and Nguyen, with 7
additions an element: https://www.eecs.berkeley.edu/Pubs/TechRpts/2015/EECS-2015-229.html)
What is left goes the same way up to LEVELS times, then, like infinities and NaN, one by one into
the long integers (`_exact_number`) in which leaves are added. Nothing is rounded but the result: it
can not depend on how elements are cut, ordered or shared among threads.

In memory the elements are (outer, n1 * n2, inner), a leaf some of the n2 of w neighbours of inner:

    DENSE    elements are contiguous rows of w: `lanes` of them at a time
    WIDE     rows of w are contiguous, but apart
    GATHER   anything else: a leaf is copied, then DENSE
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from .._jit import njit
from ._exact_number import (
    FLAGS,
    PLACES,
    ROUNDED_TO,
    add,
    carry,
    clear,
    rounded,
    rounded_pair,
)
from ._native import address, array_at, at, call, prefetch, run
from ._parallel import workers

LEVELS = 4
_LEAF = 4096  # elements of one result
_TILE = 65536  # elements: they are read twice, the second time from an L2 cache
_WIDTH = 256  # columns of a tile
_LANES = 16
_AHEAD = 8192  # bytes: prefetching makes runs from memory faster
_BLOCK = 65536  # elements
_RUN = 16384  # elements of a result, at least, to which there is a long integer in memory
_PEAK, _PLAIN, _FOLD, _KEEP, _COPY = range(5)
_DENSE, _WIDE, _GATHER = range(3)
# A tile's state: arrays of _WIDTH, the first of int64. Peaks are the bits of the largest element.
_PEAKS, _LEAST, _START1, _START2, _SUM1, _SUM2, _LEFT, _STATES = (i * _WIDTH for i in range(8))
# What a block finds in its int64 arguments, in this order.
(
    _X, _OUT, _PARTS,
    _CODE, _CODE64, _MANTISSA, _BASE, _DIGITS, _PRECISION, _LOWEST,
    _MODE, _ROWS, _W, _CHUNK, _PLACES, _RUN_LEAVES, _RUNS,
    _OUTER, _SO, _N1, _S1, _N2, _S2, _INNER, _SI,
) = range(25)  # fmt: skip
_u = np.uintp  # an unsigned index can not wrap round, so that the loop vectorizes


@njit(cache=False, forceinline=True)
def _larger(a, b):
    return a if a > b else b


@njit(cache=False, forceinline=True)
def _smaller(a, b):
    return a if a < b else b


@njit(cache=False, forceinline=True)
def _least(a, b):
    """The smaller of two float32's bits less 1: 0 is the largest."""
    a, b = np.uint32(a - np.int64(1)), np.uint32(b - np.int64(1))
    return a if a < b else b


@njit(cache=False, forceinline=True)
def _cut(a, x):
    """(a + x, rounded; what of x is lost)"""
    total = a + x
    return total, x - (total - a)


@njit(cache=False, forceinline=True)
def _cut_twice(a, b, left, x):
    a, x = _cut(a, x)
    b, x = _cut(b, x)
    return a, b, left | np.float64(x).view(np.int64), x


def _core(dtype):
    """core(job, x, offset, stride, rows, w, step, state, to): a job on `rows` rows of w elements.

    PEAK  state's peaks = the largest of each column and what is there
    FOLD  add elements to the sums; or the bits of what is left to LEFT
    KEEP  FOLD, and put what is left in the place of an element of float64
    COPY  to[...] = the elements, `step` apart in a row, as float64
    """
    integer, number = np.dtype(f"i{dtype.itemsize}").type, dtype.type
    mask = integer(np.iinfo(integer).max)
    itemsize = np.int64(dtype.itemsize)
    narrow, wide = itemsize == 4, itemsize == 8

    @njit
    def core(job, x, offset, stride, rows, w, step, state, to):
        ahead = x + offset * itemsize + _AHEAD
        bits, x = array_at(x, integer), array_at(x, number)
        peaks, sums = array_at(state, np.int64), array_at(state, np.float64)
        p, s, n = _u(offset), _u(stride), _u(w)
        if job == _PEAK:
            for _ in range(rows // 8):
                if s == n:
                    for line in range(8 * w * itemsize // 64):
                        prefetch(ahead + 64 * line)
                    ahead += 8 * w * itemsize
                for j in range(n):
                    q = p + j
                    b0 = integer(bits[q] & mask)
                    b1 = integer(bits[q + s] & mask)
                    b2 = integer(bits[q + _u(2) * s] & mask)
                    b3 = integer(bits[q + _u(3) * s] & mask)
                    b4 = integer(bits[q + _u(4) * s] & mask)
                    b5 = integer(bits[q + _u(5) * s] & mask)
                    b6 = integer(bits[q + _u(6) * s] & mask)
                    b7 = integer(bits[q + _u(7) * s] & mask)
                    low = _larger(_larger(b0, b1), _larger(b2, b3))
                    high = _larger(_larger(b4, b5), _larger(b6, b7))
                    peaks[j] = _larger(peaks[j], np.int64(_larger(low, high)))
                    if narrow:
                        low = _smaller(_least(b0, b1), _least(b2, b3))
                        high = _smaller(_least(b4, b5), _least(b6, b7))
                        least = np.int64(_smaller(low, high))
                        peaks[_u(_LEAST) + j] = _smaller(peaks[_u(_LEAST) + j], least)
                p += _u(8) * s
            for _ in range(rows % 8):
                for j in range(n):
                    b = integer(bits[p + j] & mask)
                    peaks[j] = _larger(peaks[j], np.int64(b))
                    if narrow:
                        least = np.int64(_least(b, b))
                        peaks[_u(_LEAST) + j] = _smaller(peaks[_u(_LEAST) + j], least)
                p += s
        elif job == _PLAIN:
            for _ in range(rows // 8):
                for j in range(n):
                    q = p + j
                    a = np.float64(x[q]) + np.float64(x[q + s])
                    b = np.float64(x[q + _u(2) * s]) + np.float64(x[q + _u(3) * s])
                    c = np.float64(x[q + _u(4) * s]) + np.float64(x[q + _u(5) * s])
                    d = np.float64(x[q + _u(6) * s]) + np.float64(x[q + _u(7) * s])
                    sums[_u(_SUM1) + j] += (a + b) + (c + d)
                p += _u(8) * s
            for _ in range(rows % 8):
                for j in range(n):
                    sums[_u(_SUM1) + j] += np.float64(x[p + j])
                p += s
        elif job == _FOLD:
            for _ in range(rows // 8):
                for j in range(n):
                    q = p + j
                    a, b, left = sums[_u(_SUM1) + j], sums[_u(_SUM2) + j], peaks[_u(_LEFT) + j]
                    a, b, left, _ = _cut_twice(a, b, left, np.float64(x[q]))
                    a, b, left, _ = _cut_twice(a, b, left, np.float64(x[q + s]))
                    a, b, left, _ = _cut_twice(a, b, left, np.float64(x[q + _u(2) * s]))
                    a, b, left, _ = _cut_twice(a, b, left, np.float64(x[q + _u(3) * s]))
                    a, b, left, _ = _cut_twice(a, b, left, np.float64(x[q + _u(4) * s]))
                    a, b, left, _ = _cut_twice(a, b, left, np.float64(x[q + _u(5) * s]))
                    a, b, left, _ = _cut_twice(a, b, left, np.float64(x[q + _u(6) * s]))
                    a, b, left, _ = _cut_twice(a, b, left, np.float64(x[q + _u(7) * s]))
                    sums[_u(_SUM1) + j], sums[_u(_SUM2) + j], peaks[_u(_LEFT) + j] = a, b, left
                p += _u(8) * s
            for _ in range(rows % 8):
                for j in range(n):
                    a, b, left = sums[_u(_SUM1) + j], sums[_u(_SUM2) + j], peaks[_u(_LEFT) + j]
                    a, b, left, _ = _cut_twice(a, b, left, np.float64(x[p + j]))
                    sums[_u(_SUM1) + j], sums[_u(_SUM2) + j], peaks[_u(_LEFT) + j] = a, b, left
                p += s
        elif job == _KEEP:
            if wide:
                for _ in range(rows):
                    for j in range(n):
                        a, b, left = sums[_u(_SUM1) + j], sums[_u(_SUM2) + j], peaks[_u(_LEFT) + j]
                        a, b, left, x[p + j] = _cut_twice(a, b, left, np.float64(x[p + j]))
                        sums[_u(_SUM1) + j], sums[_u(_SUM2) + j], peaks[_u(_LEFT) + j] = a, b, left
                    p += s
        else:
            to, i = array_at(to, np.float64), _u(0)
            for _ in range(rows):
                if step == 1:
                    for j in range(n):
                        to[i + j] = x[p + j]
                else:
                    q = p
                    for j in range(n):
                        to[i + j] = x[q]
                        q += _u(step)
                p += s
                i += n
        return 0

    return core


@cache
def _compiled(dtype):
    function = _core(dtype)
    return address(function, 9), function


@njit
def _start(state, mantissa, job, w, lanes, rows):
    """Set where the sums of each column start, in all lanes; returns the job that adds to them."""
    peaks, sums = array_at(state, np.int64), array_at(state, np.float64)
    inf, bias = (255 << 23, 127) if mantissa == 23 else (2047 << 52, 1023)
    count, plain = np.int64(0), mantissa == 23
    while (np.int64(1) << count) < rows:
        count += 1
    for j in range(_u(w)):
        # Sums of the float32 are exact in float64 if 2**(53 - 24) are the larger exponents' due.
        largest, least = peaks[j] >> 23, (peaks[_u(_LEAST) + j] + 1) >> 23
        plain &= largest - max(least, 1) <= 29 - count and largest < 255
    if plain:
        for j in range(_u(w * lanes)):
            sums[_u(_START1) + j] = sums[_u(_SUM1) + j] = 0
            sums[_u(_START2) + j] = sums[_u(_SUM2) + j] = 0
            peaks[_u(_LEFT) + j] = 0
        return _PLAIN
    for j in range(_u(w)):
        k1 = max(max(peaks[j] >> mantissa, 1) - bias + count + 2, -1022)
        k2 = max(k1 - 52 + count, -1022)
        # As the bits of the float64.
        peaks[_u(_START1) + j] = ((min(k1, 1023) + 1023) << 52) | (1 << 51)
        peaks[_u(_START2) + j] = ((min(k2, 1023) + 1023) << 52) | (1 << 51)
        peaks[_u(_LEFT) + j] = np.int64(peaks[j] >= inf) | np.int64(k1 > 1023)
    for lane in range(1, lanes):
        for j in range(_u(w)):
            i = _u(lane * w) + j
            sums[_u(_START1) + i] = sums[_u(_START1) + j]
            sums[_u(_START2) + i] = sums[_u(_START2) + j]
            peaks[_u(_LEFT) + i] = 0
    for j in range(_u(w * lanes)):
        sums[_u(_SUM1) + j] = sums[_u(_START1) + j]
        sums[_u(_SUM2) + j] = sums[_u(_START2) + j]
    return job


@njit
def _split(code, mantissa, job, x, offset, stride, rows, w, lanes, state):
    """Sum each of w columns, in `lanes` lanes if rows are contiguous: into SUM1, SUM2 and LEFT."""
    peaks, sums = array_at(state, np.int64), array_at(state, np.float64)
    full, rest, n = rows // lanes, rows % lanes * w, lanes * w
    step, tail = lanes * stride, offset + full * lanes * stride
    for j in range(_u(n)):
        peaks[j], peaks[_u(_LEAST) + j] = 0, 0xFFFFFFFF
    call(code, (_PEAK, x, offset, step, full, n, 1, state, 0))
    if rest:
        call(code, (_PEAK, x, tail, step, 1, rest, 1, state, 0))
    half = n // 2
    while half >= w:
        for j in range(_u(half)):
            i = _u(half) + j
            peaks[j] = max(peaks[j], peaks[i])
            peaks[_u(_LEAST) + j] = min(peaks[_u(_LEAST) + j], peaks[_u(_LEAST) + i])
        half //= 2
    job = _start(state, mantissa, job, w, lanes, rows)
    call(code, (job, x, offset, step, full, n, 1, state, 0))
    if rest:
        call(code, (job, x, tail, step, 1, rest, 1, state, 0))
    for j in range(_u(n)):
        sums[_u(_SUM1) + j] -= sums[_u(_START1) + j]
        sums[_u(_SUM2) + j] -= sums[_u(_START2) + j]
    half = n // 2
    while half >= w:
        for j in range(_u(half)):
            i = _u(half) + j
            sums[_u(_SUM1) + j] += sums[_u(_SUM1) + i]
            sums[_u(_SUM2) + j] += sums[_u(_SUM2) + i]
            peaks[_u(_LEFT) + j] |= peaks[_u(_LEFT) + i]
        half //= 2


@njit
def _lanes(w, rows):
    """Lanes for contiguous rows of w."""
    lanes = np.int64(1)
    while lanes * w < _LANES and lanes * 16 <= rows:
        lanes *= 2
    return lanes


@njit
def _add_column(args, number, x, code, offset, stride, rows, state, copy):
    """Add one column of a leaf that is more than two sums hold."""
    code64, base = at(args, _CODE64), at(args, _BASE)
    peaks, sums, left = (
        array_at(state, np.int64), array_at(state, np.float64), array_at(copy, np.float64)
    )  # fmt: skip
    call(code, (_COPY, x, offset, 0, 1, rows, stride, state, copy))
    for _ in range(LEVELS):
        peak = np.int64(0)
        lanes = _lanes(1, rows)
        for i in range(_u(rows)):
            peak = max(peak, np.float64(left[i]).view(np.int64) & np.int64((1 << 63) - 1))
        if peak >> 52 >= 2000:  # infinities, NaN, and what the sums could not hold
            break
        _split(code64, 52, _KEEP, copy, 0, 1, rows, 1, lanes, state)
        add(number, base, sums[_u(_SUM1)])
        add(number, base, sums[_u(_SUM2)])
        if peaks[_u(_LEFT)] << 1 == 0:
            return
    for i in range(_u(rows)):
        if left[i] != 0:
            add(number, base, left[i])


@njit
def _add_leaf(args, x, offset, rows, w, result, numbers, state, copy):
    """Add a leaf of w columns to their numbers or, if it is all there is, round its sums."""
    code, mantissa, mode = at(args, _CODE), at(args, _MANTISSA), at(args, _MODE)
    base, digits = at(args, _BASE), at(args, _DIGITS)
    precision, lowest = at(args, _PRECISION), at(args, _LOWEST)
    stride, out = at(args, _S2), array_at(at(args, _OUT), np.float64)
    peaks, sums = array_at(state, np.int64), array_at(state, np.float64)
    only = at(args, _N1) * at(args, _N2) == rows
    size = 8 * (FLAGS + digits)
    column = copy
    if mode == _GATHER:
        column += 8 * at(args, _ROWS) * at(args, _W)
        si = at(args, _SI)
        if w == 1:
            call(code, (_COPY, x, offset, 0, 1, rows, stride, state, copy))
        else:
            call(code, (_COPY, x, offset, stride, rows, w, si, state, copy))
        code, mantissa, x, offset, stride = at(args, _CODE64), np.int64(52), copy, 0, w
    lanes = np.int64(1) if mode == _WIDE else _lanes(w, rows)
    _split(code, mantissa, _FOLD, x, offset, stride, rows, w, lanes, state)
    failed = False
    for j in range(w):
        i = _u(j)
        if peaks[_u(_LEFT) + i] << 1:
            failed = True
        elif only:
            pair = sums[_u(_SUM1) + i], sums[_u(_SUM2) + i]
            out[_u(result + j)] = rounded_pair(*pair, precision, lowest)
        else:
            number = array_at(numbers + j * size, np.int64)
            add(number, base, sums[_u(_SUM1) + i])
            add(number, base, sums[_u(_SUM2) + i])
    if failed:
        for j in range(w):  # before the state is used again
            peaks[_u(_PEAKS + j)] = peaks[_u(_LEFT + j)] << 1
        spare = column + 8 * at(args, _ROWS)
        for j in range(w):
            if peaks[_u(j)]:
                at_number = numbers if only else numbers + j * size
                number = array_at(at_number, np.int64)
                if only:
                    clear(number, digits)
                _add_column(args, number, x, code, offset + j, stride, rows, spare, column)
                if only:
                    out[_u(result + j)] = rounded(number, base, digits, precision, lowest)


@njit
def _add_columns(args, o, c, run, scratch):
    """Columns c... of outer place o: the leaves of one run, to a part or to results."""
    n2, rows, w = at(args, _N2), at(args, _ROWS), min(at(args, _W), at(args, _INNER) - c)
    base, digits = at(args, _BASE), at(args, _DIGITS)
    size, per = 8 * (FLAGS + digits), -(-n2 // rows)
    leaves, result = at(args, _N1) * per, o * at(args, _INNER) + c
    runs, first = at(args, _RUNS), run * at(args, _RUN_LEAVES)
    numbers = scratch + 8 * _STATES
    copy = numbers + at(args, _W) * size
    if runs > 1:
        numbers = at(args, _PARTS) + (run * at(args, _OUTER) * at(args, _INNER) + result) * size
    if leaves > 1:
        for j in range(w):
            clear(array_at(numbers + j * size, np.int64), digits)
    for leaf in range(first, min(leaves, first + at(args, _RUN_LEAVES))):
        i1, i2 = leaf // per, leaf % per * rows
        offset = o * at(args, _SO) + c * at(args, _SI) + i1 * at(args, _S1) + i2 * at(args, _S2)
        count = min(rows, n2 - i2)
        _add_leaf(args, at(args, _X), offset, count, w, result, numbers, scratch, copy)
    if leaves > 1:
        out = array_at(at(args, _OUT), np.float64)
        for j in range(w):
            number = array_at(numbers + j * size, np.int64)
            if runs > 1:
                carry(number, digits)
            else:
                precision, lowest = at(args, _PRECISION), at(args, _LOWEST)
                out[_u(result + j)] = rounded(number, base, digits, precision, lowest)


@njit
def _add_block(b, args, scratch):
    """A run of leaves of some columns, of some outer places if those are small."""
    inner, chunk, places = at(args, _INNER), at(args, _CHUNK), at(args, _PLACES)
    b, run = divmod(b, at(args, _RUNS))
    b, part = divmod(b, -(-inner // chunk))
    for o in range(b * places, min(at(args, _OUTER), (b + 1) * places)):
        for c in range(part * chunk, min(inner, (part + 1) * chunk), at(args, _W)):
            _add_columns(args, o, c, run, scratch)
    return 0


@njit
def _merge_parts(parts, out, base, digits, precision, lowest):
    """Round the sums over runs of parts, (runs, results, FLAGS + digits)."""
    number = np.empty(FLAGS + digits, np.int64)
    for r in range(parts.shape[1]):
        clear(number, digits)
        for part in range(parts.shape[0]):
            for i in range(FLAGS + digits):
                number[i] += parts[part, r, i]
        out[r] = rounded(number, base, digits, precision, lowest)


@cache
def _block():
    return address(_add_block, 3)


class ExactSum(NamedTuple):
    """How to sum arrays of one dtype whose elements lie at one place."""

    constants: np.ndarray
    blocks: int
    scratch: int
    work: int
    shape: tuple[int, int]
    runs: int
    number: tuple[int, int]
    rounding: tuple[int, int]

    def __call__(self, x):
        """The correctly rounded sums of `x`, in float64: (outer, inner)."""
        out = np.empty(self.shape)
        base, digits = self.number
        parts = out
        if self.runs > 1:
            parts = np.empty((self.runs, out.size, FLAGS + digits), np.int64)
        arrays = x, out, parts
        run(workers(), _block(), self.blocks, arrays, self.constants, self.scratch, self.work)
        if self.runs > 1:
            _merge_parts(parts, out.reshape(-1), base, digits, *self.rounding)
        return out


def plan_exact_sum(dtype, place, target):
    """The ExactSum of elements at `place`, rounded to the dtype `target`.

    place : (outer, its stride, n1, its stride, n2, its stride, inner, its stride), in elements.
    """
    outer, so, n1, s1, n2, s2, inner, si = place
    if n1 > 1 and (s1 == 1 or (s2 != 1 and n1 > n2)):  # in any order: better long leaves
        n1, s1, n2, s2 = n2, s2, n1, s1
    if s2 == 1 and n2 > (32 if inner == 1 else 512):
        mode, w = _DENSE, 1
    elif si == 1 and s2 == inner < 16 and n2 > 32:
        mode, w = _DENSE, inner
    elif si == 1 and inner >= 16:
        mode, w = _WIDE, min(inner, _WIDTH)
        if n2 <= 1024:  # better narrow columns than several leaves
            w = min(inner, max(64, min(_WIDTH, _TILE // n2 // 16 * 16)))
    else:
        mode, w = _GATHER, min(inner, max(1, 16384 // n2), _WIDTH)
    rows = min(n2, _LEAF, _TILE // w)
    leaves = n1 * -(-n2 // rows)
    together = max(1, _BLOCK // (rows * w * leaves))
    chunk = min(inner, together * w)
    places = max(1, _BLOCK // (n1 * n2 * inner)) if chunk == inner else 1
    chunks = -(-inner // chunk) * -(-outer // places)
    run_leaves = leaves
    if chunks < 32:
        run_leaves = min(leaves, max(_BLOCK // (rows * w), -(-_RUN // rows)))
    runs = -(-leaves // run_leaves)
    base, digits = PLACES[dtype]
    rounding = ROUNDED_TO[target.name]
    constants = [
        _compiled(dtype)[0],
        _compiled(np.dtype(np.float64))[0],
        23 if dtype.itemsize == 4 else 52,
        base,
        digits,
        *rounding,
        mode,
        rows,
        w,
        chunk,
        places,
        run_leaves,
        runs,
        *(outer, so, n1, s1, n2, s2, inner, si),
    ]
    size = FLAGS + digits
    gathered = rows * w if mode == _GATHER else 0
    return ExactSum(
        constants=np.array(constants, np.int64),
        blocks=chunks * runs,
        scratch=8 * (2 * _STATES + w * size + gathered + rows),
        work=n1 * n2 * outer * inner * dtype.itemsize // 16,
        shape=(outer, inner),
        runs=runs,
        number=(base, digits),
        rounding=rounding,
    )
