"""Correctly rounded sums, as fast as memory where the exponents of neighbours are not far apart.

Elements are cut into leaves, each of which `_exact_core` mostly finds to be the sum of two float64.
What is left goes the same way again, up to LEVELS times, then, like infinities and NaN, one by one
into the long integers (`_exact_number`) in which leaves are added. Nothing is rounded but the
result: it can not depend on how elements are cut, ordered or shared among threads.

In memory the elements are (outer, n1 * n2, inner), a leaf some of the n2 of w neighbours of inner:

    DENSE    elements are contiguous rows of w: some of them at a time
    WIDE     rows of w are contiguous, but apart
    GATHER   anything else: a leaf is copied, then DENSE
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from .._jit import njit
from ._exact_core import (
    COPY,
    FOLD,
    KEEP,
    LEFT,
    STATES,
    SUM1,
    SUM2,
    WIDTH,
    compiled,
    lanes_of,
    split,
)
from ._exact_number import FLAGS, PLACES, ROUNDED_TO, add, carry, clear, rounded, rounded_pair
from ._native import address, array_at, at, call, run
from ._parallel import workers

LEVELS = 4
_LEAF = 4096  # elements of one result
_TILE = 65536  # elements: they are read twice, the second time from an L2 cache
_GATHERED = 16384  # elements of a leaf that is copied
_BLOCK = 65536  # elements
_RUN = 16384  # elements of a result, at least, to which there is a long integer in memory
_MANY = 32  # blocks: with fewer, the elements of a result are shared among some
_DENSE, _WIDE, _GATHER = range(3)
# What a block finds in its int64 arguments, in this order.
(
    _X, _OUT, _PARTS,
    _CODE, _CODE64, _MANTISSA, _BASE, _DIGITS, _PRECISION, _LOWEST,
    _MODE, _ROWS, _W, _CHUNK, _PLACES, _RUN_LEAVES, _RUNS,
    _OUTER, _SO, _N1, _S1, _N2, _S2, _INNER, _SI,
) = range(25)  # fmt: skip
_u = np.uintp


@njit
def _add_column(args, number, x, code, offset, stride, rows, state, copy):
    """Add one column of a leaf that is more than two sums hold."""
    code64, base = at(args, _CODE64), at(args, _BASE)
    peaks, sums = array_at(state, np.int64), array_at(state, np.float64)
    left, bits, lanes = array_at(copy, np.float64), array_at(copy, np.int64), lanes_of(1, rows)
    call(code, (COPY, x, offset, 0, 1, rows, stride, state, copy))
    for _ in range(LEVELS):
        largest = np.int64(0)
        for i in range(_u(rows)):
            largest = max(largest, (bits[i] >> 52) & 2047)
        if largest >= 2000:  # infinities, NaN, and what the sums could not hold
            break
        split(code64, 52, KEEP, copy, 0, 1, rows, 1, lanes, state)
        add(number, base, sums[_u(SUM1)])
        add(number, base, sums[_u(SUM2)])
        if peaks[_u(LEFT)] << 1 == 0:
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
            call(code, (COPY, x, offset, 0, 1, rows, stride, state, copy))
        else:
            call(code, (COPY, x, offset, stride, rows, w, si, state, copy))
        code, mantissa, x, offset, stride = at(args, _CODE64), np.int64(52), copy, 0, w
    lanes = np.int64(1) if mode == _WIDE else lanes_of(w, rows)
    split(code, mantissa, FOLD, x, offset, stride, rows, w, lanes, state)
    spare = column + 8 * at(args, _ROWS)
    for j in range(w):
        i = _u(j)
        number = array_at(numbers if only else numbers + j * size, np.int64)
        if peaks[_u(LEFT) + i] << 1:
            if only:
                clear(number, digits)
            _add_column(args, number, x, code, offset + j, stride, rows, spare, column)
            if only:
                out[_u(result + j)] = rounded(number, base, digits, precision, lowest)
        elif only:
            pair = sums[_u(SUM1) + i], sums[_u(SUM2) + i]
            out[_u(result + j)] = rounded_pair(*pair, precision, lowest)
        else:
            add(number, base, sums[_u(SUM1) + i])
            add(number, base, sums[_u(SUM2) + i])


@njit
def _add_columns(args, o, c, run, scratch):
    """Columns c... of outer place o: the leaves of one run, to a part or to results."""
    n2, rows, w = at(args, _N2), at(args, _ROWS), min(at(args, _W), at(args, _INNER) - c)
    base, digits = at(args, _BASE), at(args, _DIGITS)
    size, per = 8 * (FLAGS + digits), -(-n2 // rows)
    leaves, result = at(args, _N1) * per, o * at(args, _INNER) + c
    runs, first = at(args, _RUNS), run * at(args, _RUN_LEAVES)
    numbers = scratch + 8 * STATES
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
        mode, w = _WIDE, min(inner, WIDTH)
        if n2 <= 1024:  # better narrow columns than several leaves
            w = min(inner, max(64, min(WIDTH, _TILE // n2 // 16 * 16)))
    else:
        mode, w = _GATHER, min(inner, max(1, _GATHERED // n2), WIDTH)
    rows = min(n2, _LEAF, _TILE // w)
    leaves = n1 * -(-n2 // rows)
    together = max(1, _BLOCK // (rows * w * leaves))
    chunk = min(inner, together * w)
    places = max(1, _BLOCK // (n1 * n2 * inner)) if chunk == inner else 1
    chunks = -(-inner // chunk) * -(-outer // places)
    run_leaves = leaves
    if chunks < _MANY:
        run_leaves = min(leaves, max(_BLOCK // (rows * w), -(-_RUN // rows)))
    runs = -(-leaves // run_leaves)
    base, digits = PLACES[dtype]
    rounding = ROUNDED_TO[target.name]
    constants = [
        compiled(dtype)[0],
        compiled(np.dtype(np.float64))[0],
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
        scratch=8 * (2 * STATES + w * size + gathered + rows),
        work=n1 * n2 * outer * inner * dtype.itemsize // 16,
        shape=(outer, inner),
        runs=runs,
        number=(base, digits),
        rounding=rounding,
    )
