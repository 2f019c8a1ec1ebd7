"""The engine of the reductions: one summation tree for every memory layout.

The n elements of one result, in logical order, are cut into leaves of LEAF; element i of a leaf
goes to lane i % LANES, or there is but one lane if n is FEW or less; a lane takes 8 elements at a
time, merged as a balanced tree, what is left one by one; lanes and then leaves are merged by
halving. Which elements meet in which order thus depends on n alone, and results have the same bits
for any strides and any number of threads.

In memory the elements are (outer, n1 * n2, inner) with a stride, in elements, for each of the four;
results are (outer, inner). A tile, one leaf of w neighbours along inner, is folded in the way that
its strides allow:

    ROWS    elements are contiguous: one result at a time, its lanes in registers
    DENSE   elements are contiguous rows of w: w times as many contiguous lanes
    WIDE    rows of w are apart: a lane at a time, 8 rows of it
    GATHER  anything else: a few rows are copied together, then DENSE

What an operation does with elements and accumulators is its core (`_reduce_core`): a new operation
or dtype compiles that alone.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from .._jit import njit
from ._common import BLOCK
from ._native import DATA, address, array_at, at, call, run
from ._parallel import workers
from ._reduce_core import CLEAR, FOLD, GROUP, LANES, MERGE, NARROW, NUMBER, RUN, STORE, TOTAL, core
from ._reduce_gather import copier, gather
from ._reduce_ops import (
    ARGS,
    CENTRED,
    SETTLED,
    LogSumExp,
    accumulator,
    is_any_order,
    parts_of,
    planes_of,
    result_type,
)
from ._stored import stored_as

LEAF, FEW = 4096, 64
LONG_LEAF = 32768  # where order matters to no bit: a leaf takes 30 ns, as long as 3 KB from L3;
# and so many uint16 add up to less than 2**31
SMALL = 2**20  # bytes up to which contiguous rows are folded on the caller's thread: 10-25 us
_MAX_WIDTH = 1024  # columns of a dense tile
_MIN_WIDTH = 512  # columns of a wide one that leaves some to other threads
_HELD_BYTES = 2**19  # of a wide tile's lanes: long runs gain more than a small cache
_RUNS_BLOCK, _LONG_RUN = 65536, 2**20  # elements of a block of runs: 6 % faster from memory
_GATHERED = 16384  # elements that a tile copies together at a time
_ROWS, _DENSE, _WIDE, _GATHER = range(4)
# What a block finds in its int64 arguments, in this order.
(
    _X, _OUT, _FLAGS,
    _CODE, _CENTRE_CODE, _COPY_CODE, _HELD, _PLANES, _LANES, _LEAVES, _PROBE, _FINAL, _NUMBERED,
    _STORE, _DIVISOR, _MODE, _WIDTH, _COLUMNS, _PLACES, _RUNS,
    _LEAF, _OUTER, _SO, _N1, _S1, _N2, _S2, _INNER, _SI,
) = range(29)  # fmt: skip
_u = np.uintp  # an unsigned index can not wrap round, so that the loop vectorizes


@njit
def _fold_dense(code, a, size, x, offset, rows, w, row, lanes):
    """Merge `rows` contiguous rows of w, a lane each in turn."""
    n, full, rest = lanes * w, rows // lanes, rows % lanes * w
    call(code, (FOLD, a, size, 0, x, offset, n, full, n, row))
    if rest:
        call(code, (FOLD, a, size, 0, x, offset + full * n, n, 1, rest, row + full))


@njit
def _fold_wide(code, a, size, args, offset, rows, w, lanes, copy):
    """Merge rows of w that are apart, 8 at a time: as they lie, or copied together."""
    x, apart, si = at(args, _X), lanes * at(args, _S2), at(args, _SI)
    for r in range(0, rows, 8 * lanes):
        for lane in range(min(lanes, rows - r)):
            first = offset + (r + lane) * at(args, _S2)
            count = min(8, -((r + lane - rows) // lanes))
            if si == 1:
                call(code, (FOLD, a, size, lane * w, x, first, apart, count, w, r // lanes))
            else:
                call(at(args, _COPY_CODE), (x, copy, first, 0, count, apart, w, w, si, 1))
                call(code, (FOLD, a, size, lane * w, copy, 0, w, count, w, r // lanes))


@njit
def _gather(args, offset, first, rows, w, out):
    strides = at(args, _S1), at(args, _S2), at(args, _SI)
    gather(at(args, _COPY_CODE), at(args, _X), offset, at(args, _N2), *strides, first, rows, w, out)


@njit
def _fold_tile(code, a, size, args, offset, first, rows, w, copy):
    """Fold elements first..first+rows of w columns into the accumulators from a on."""
    mode, x = at(args, _MODE), at(args, _X)
    s2 = at(args, _S2)
    lanes = at(args, _LANES)
    used, half = min(lanes, rows), lanes // 2
    if mode == _ROWS:
        n, si = at(args, _N2), at(args, _SI)
        skipped = si - n if first + rows == n else 0
        call(code, (RUN, a, size, 0, x, offset + first, si, rows, w, skipped))
        return
    if mode == _GATHER and w == 1 and lanes > 1:
        _gather(args, offset, first, rows, 1, copy)
        call(code, (RUN, a, size, 0, copy, 0, 0, rows, 1, 0))
        return
    call(code, (CLEAR, a, size, 0, 0, 0, 0, 0, max(1, used) * w, 0))
    if mode == _WIDE:
        _fold_wide(code, a, size, args, offset + first * s2, rows, w, lanes, copy)
    elif mode == _GATHER:
        step = max(GROUP, _GATHERED // w // GROUP * GROUP)
        for r in range(0, rows, step):
            count = min(step, rows - r)
            _gather(args, offset, first + r, count, w, copy)
            _fold_dense(code, a, size, copy, 0, count, w, r // lanes, lanes)
    else:
        _fold_dense(code, a, size, x, offset + first * s2, rows, w, 0, lanes)
    if at(args, _NUMBERED) and lanes > 1:
        for lane in range(used):
            call(code, (NUMBER, a, size, lane * w, 0, 0, 0, 0, w, lane))
    while half > 0:
        if used > half:
            call(code, (MERGE, a, size, 0, 0, 0, half * w, 0, (used - half) * w, 0))
            used = half
        half //= 2


@njit
def _find_centres(args, a, size, offset, first, rows, w, copy):
    """Set the plane of centres, for every lane, from the first few elements or, if NaN, all."""
    code, probe = at(args, _CENTRE_CODE), min(rows, at(args, _PROBE))
    centres, plane = array_at(a, np.float64), (at(args, _HELD) - 1) * size
    _fold_tile(code, a, size, args, offset, first, probe, w, copy)
    for j in range(w):
        if centres[_u(j)] != centres[_u(j)] and probe < rows:
            _fold_tile(code, a, size, args, offset, first, rows, w, copy)
            break
    for lane in range(min(at(args, _LANES), rows)):
        for j in range(w):
            centres[_u(plane + lane * w + j)] = centres[_u(j)]


@njit
def _fold_leaf(args, a, o, leaf, begin, end):
    """One leaf of columns begin..end of outer place `o`."""
    inner, width, n = at(args, _INNER), at(args, _WIDTH), at(args, _N1) * at(args, _N2)
    code, planes, leaves = at(args, _CODE), at(args, _PLANES), at(args, _LEAVES)
    flags, flagged = array_at(at(args, _FLAGS), np.uint8), at(args, _FINAL) >= 0
    store, divisor = at(args, _STORE), at(args, _DIVISOR)
    first_plane = 1 if at(args, _NUMBERED) and leaves == 1 else 0
    first = leaf * at(args, _LEAF)
    rows = min(at(args, _LEAF), n - first)
    size = min(at(args, _LANES), rows) * width
    copy = a + 8 * at(args, _HELD) * size
    for c in range(begin, end, width):
        result = _u(o * inner + c)
        offset = o * at(args, _SO) + c * at(args, _SI)
        w = min(width, inner - c)
        settled = flagged and flags[result] != 0
        if at(args, _CENTRE_CODE) != 0:
            _find_centres(args, a, size, offset, first, rows, w, copy)
        _fold_tile(code, a, size, args, offset, first, 0 if settled else rows, w, copy)
        for plane in range(first_plane, planes):
            to = (plane * leaves + leaf) * at(args, _OUTER) * inner + o * inner + c
            call(code, (store, a, size, plane * size, at(args, _OUT), to, 0, divisor, w, 0))
        if flagged and w == 1 and (array_at(a, np.uint8)[_u(0)] != 0) == (at(args, _FINAL) != 0):
            flags[result] = 1


@njit
def _fold_block(b, args, scratch):
    """Some leaves of some columns, of some outer places if those are small."""
    outer, inner, leaves = at(args, _OUTER), at(args, _INNER), at(args, _LEAVES)
    columns, places, runs = at(args, _COLUMNS), at(args, _PLACES), at(args, _RUNS)
    b, chunk = divmod(b, -(-inner // columns))
    b, run = divmod(b, -(-leaves // runs))
    for o in range(b * places, min(outer, (b + 1) * places)):
        for leaf in range(run * runs, min(leaves, (run + 1) * runs)):
            _fold_leaf(args, scratch, o, leaf, chunk * columns, min(inner, (chunk + 1) * columns))
    return 0


@cache
def _block():
    return address(_fold_block, 3)


@njit
def _merge_leaves(code, out, leaves, n):
    """Merge rows of n results by halving, into row 0."""
    while leaves > 1:
        half = (leaves + 1) // 2
        call(code, (TOTAL, 0, 0, 0, out, 0, half * n, 0, (leaves - half) * n, 0))
        leaves = half


@njit
def _fold_rows(code, x, m, n, longest, out):
    """Fold m rows of n neighbours in memory into row 0 of `out`, on this thread."""
    scratch = np.empty(2)
    x, out, a, leaves = at(x, 0), at(out, 0), scratch.ctypes.data, -(-n // longest)
    for leaf in range(leaves):
        first = leaf * longest
        for i in range(m):
            if n > FEW:
                call(code, (RUN, a, 1, 0, x, i * n + first, 1, min(longest, n - first), 1, 0))
            else:
                call(code, (CLEAR, a, 1, 0, 0, 0, 0, 0, 1, 0))
                call(code, (FOLD, a, 1, 0, x, i * n, 1, n, 1, 0))
            call(code, (STORE, a, 1, 0, out, leaf * m + i, 0, 0, 1, 0))
    _merge_leaves(code, out, leaves, m)
    return scratch[0]  # it is alive until here


def _is_free(kind, dtype):
    return is_any_order(kind, dtype) and kind not in ARGS


@cache
def row_folder(kind, dtype):
    """What `fold_rows` needs to know of an operation whose result is one number."""
    code, (_, _, dtype) = core(kind, dtype)[0], stored_as(dtype)
    longest = LONG_LEAF if _is_free(kind, dtype) else LEAF
    return code, np.dtype(result_type(kind, dtype)), longest


def fold_rows(folder, x, shape, n):
    """The results, of `shape`, of rows of n in a small contiguous `x`, in the shortest way."""
    code, dtype, longest = folder
    out = np.empty((-(-n // longest), *shape), dtype)
    _fold_rows(code, id(x) + DATA, x.size // n, n, longest, id(out) + DATA)
    return out[0]


class Fold(NamedTuple):
    """How to fold arrays of one dtype whose elements lie at one place."""

    constants: np.ndarray
    blocks: int
    scratch: int
    work: int
    shape: tuple[int, int, int, int]
    dtype: type
    settles: bool

    def __call__(self, x):
        """Fold `x`: (planes, leaves, outer, inner), a leaf's accumulators.

        Planes are the parts of an accumulator, then the centre where the operation has one. If
        there is one plane only, its leaf 0 has been merged with the others.
        """
        out = np.empty(self.shape, self.dtype)
        flags = np.zeros(self.shape[2] * self.shape[3], np.uint8) if self.settles else out
        arrays = x, out, flags
        run(workers(), _block(), self.blocks, arrays, self.constants, self.scratch, self.work)
        planes, leaves, outer, inner = self.shape
        if planes == 1 and leaves > 1:
            _merge_leaves(self.constants[0], out.ctypes.data, leaves, outer * inner)
        return out


def plan_fold(kind, dtype, place, threads, final=None, divisor=1):
    """The Fold of elements at `place`.

    place : (outer, its stride, n1, its stride, n2, its stride, inner, its stride), in elements.
    threads : how many there will be; results do not depend on it
    final : float32 if results of one leaf in float64 shall be divided and stored as that
    """
    code = core(kind, dtype)[0]
    centre_code = core(CENTRED[kind], dtype)[0] if kind in CENTRED else 0
    itemsize, (_, _, dtype) = dtype.itemsize, stored_as(dtype)
    outer, so, n1, s1, n2, s2, inner, si = place
    n = n1 * n2
    if n1 == 1:
        s1 = n2 * s2  # it would not matter, but the gatherer walks the smallest stride innermost
    longest = LONG_LEAF if _is_free(kind, dtype) and n1 == s2 == 1 else LEAF
    leaf, leaves = min(n, longest), -(-n // longest)
    alone = n > FEW and min(abs(s1), abs(s2)) < abs(si)  # each result's elements are near
    needless = is_any_order(kind, dtype) and inner >= 64 and not alone
    lanes = 1 if n <= FEW or needless else LANES
    held, planes = parts_of(kind, dtype) + (kind in CENTRED), planes_of(kind, dtype)
    column = lanes * held * np.dtype(accumulator(kind, dtype)).itemsize
    if n1 == 1 and s2 == 1 and n > FEW:
        mode, width = _ROWS, 1 if n > LEAF else min(inner, max(1, _GATHERED // n))
    elif n1 == 1 and si == 1 and s2 == inner and inner <= _MAX_WIDTH:
        mode, width = _DENSE, inner
    elif n1 == 1 and inner >= 64 and 0 < abs(si) < abs(s2):
        mode, most = _WIDE, 8192 if si == 1 and n > FEW else 2048  # long runs gain more
        width = min(inner, _HELD_BYTES // column, most)
        parts = -(-threads // (outer * leaves))
        width = min(width, max(_MIN_WIDTH, -(-inner // parts)))
    else:
        mode, width = _GATHER, 512 if n > FEW else min(_GATHERED // n, _MAX_WIDTH)
        width = 1 if alone else min(inner, width)
    narrow = leaves == planes == 1 and result_type(kind, dtype) is np.float64
    narrow = narrow and final == np.float32
    columns = min(inner, max(1, BLOCK // (leaf * width)) * width)
    places = max(1, BLOCK // (leaf * columns)) if columns == inner and leaves == 1 else 1
    length = max(_RUNS_BLOCK, min(_LONG_RUN, n // (16 * threads)))
    runs = max(1, length // (leaf * columns)) if leaves > 1 else 1
    blocks = -(-outer // places) * -(-leaves // runs) * -(-inner // columns)
    copied = min(leaf * width, max(_GATHERED, GROUP * width)) if mode == _GATHER else 0
    if mode == _WIDE and si != 1:
        copied = 8 * width
    apart = min([abs(s) for m, s in ((n1, s1), (n2, s2), (inner, si)) if m > 1], default=1)
    reach = min(64, apart * itemsize) or itemsize  # bytes read for an element
    constants = [
        code,
        centre_code,
        copier(itemsize)[0] if copied else 0,
        held,
        planes,
        lanes,
        leaves,
        LEAF if kind is LogSumExp else 1,
        SETTLED.get(kind, -1),
        kind in ARGS,
        NARROW if narrow else STORE,
        divisor,
        mode,
        width,
        columns,
        places,
        runs,
        longest,
        *(outer, so, n1, s1, n2, s2, inner, si),
    ]
    return Fold(
        constants=np.array(constants, np.int64),
        blocks=blocks,
        scratch=8 * held * min(lanes, leaf) * width + copied * itemsize,
        work=n * outer * inner * reach // 32 * (16 if kind is LogSumExp else 1),
        shape=(planes, leaves, outer, inner),
        dtype=np.float32 if narrow else result_type(kind, dtype),
        settles=kind in SETTLED,
    )
