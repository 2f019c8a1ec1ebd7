"""Where the extremum is: found while columns are walked, or looked up in the leaf that has it."""

from functools import cache

import numpy as np

from .._jit import njit
from ._native import address, array_at, at, run
from ._parallel import workers
from ._reduce_fold import LEAF, fold
from ._reduce_ops import Max, NanMax, NanMin, accumulator, identity, lift
from ._reduce_plan import locate

_WIDTH = 256  # columns of a block that is walked
_CHUNK = 64  # elements compared before one looks which of them it was
_u = np.uintp


def arg_extremum(kind, x, axis):
    """Index along `axis` of the first extremum, int64."""
    place, order, memory = locate(x, (axis,))
    outer, so, _, _, n, s, inner, si = place
    out = np.empty((outer, inner), np.int64)
    work = n * outer * inner * x.itemsize // 16
    if si == 1 and inner >= _CHUNK and n <= 8 * LEAF:
        chunks = -(-inner // _WIDTH)
        args = np.array([memory.ctypes.data, out.ctypes.data, so, n, s, inner, chunks])
        run(workers(), _walker(kind, x.dtype)[0], outer * chunks, args, 8 * _WIDTH, work)
    else:
        leaves = fold(kind, memory, place)[0]
        best = (np.maximum if kind in (Max, NanMax) else np.minimum).reduce(leaves)
        arrays = memory.ctypes.data, out.ctypes.data, leaves.ctypes.data, best.ctypes.data
        results = max(1, 4096 // n)
        args = np.array([*arrays, outer, so, n, s, inner, si, len(leaves), results])
        blocks = -(-outer * inner // results)
        run(workers(), _finder(kind, x.dtype)[0], blocks, args, 0, work)
    out = out.reshape([x.shape[i] for i in order])
    return out.transpose([order.index(i) for i in sorted(order)])


@cache
def _walker(kind, dtype):
    op, value = kind(), accumulator(kind, dtype)
    upwards, skips = kind in (Max, NanMax), kind in (NanMax, NanMin)

    @njit
    def walk(b, args, scratch):
        """Some columns of one outer place, row after row."""
        x, out, best = (
            array_at(at(args, 0), dtype),
            array_at(at(args, 1), np.int64),
            array_at(scratch, value),
        )
        so, n, s, inner, chunks = at(args, 2), at(args, 3), at(args, 4), at(args, 5), at(args, 6)
        o, chunk = divmod(b, chunks)
        c = chunk * _WIDTH
        w = _u(min(_WIDTH, inner - c))
        p, to = _u(o * so + c), _u(o * inner + c)
        for j in range(w):
            best[j] = lift(op, x[p + j], 0)
            out[to + j] = 0
        for r in range(1, n):
            p += _u(s)
            for j in range(w):
                v, a = lift(op, x[p + j], 0), best[j]
                better = v > a if upwards else v < a
                if not skips:
                    better |= (v != v) & (a == a)
                best[j] = v if better else a
                out[to + j] = r if better else out[to + j]
        return 0

    return address(walk, 3), walk


@cache
def _finder(kind, dtype):
    worst, skips = identity(kind, dtype), kind in (NanMax, NanMin)

    @njit
    def find(b, args, scratch):
        """The first leaf that has the extremum, and the first element in it, of some results."""
        x, out = array_at(at(args, 0), dtype), array_at(at(args, 1), np.int64)
        leaves, best = array_at(at(args, 2), dtype), array_at(at(args, 3), dtype)
        outer, so, n, s = at(args, 4), at(args, 5), at(args, 6), at(args, 7)
        inner, si, count, results = at(args, 8), at(args, 9), at(args, 10), at(args, 11)
        for i in range(b * results, min(outer * inner, (b + 1) * results)):
            target = best[_u(i)]
            nan = target != target
            if skips and target == worst:  # nothing else: NaN counts as that
                out[_u(i)] = 0
                continue
            leaf = 0
            while leaf < count - 1:
                value = leaves[_u(leaf * outer * inner + i)]
                if (value == target) | (nan & (value != value)):
                    break
                leaf += 1
            o, c = divmod(i, inner)
            p, r = _u(o * so + c * si), leaf * LEAF
            if s == 1:
                while r + _CHUNK <= n:
                    hits = 0
                    for j in range(_u(r), _u(r + _CHUNK)):
                        v = x[p + j]
                        hits |= (v == target) | (nan & (v != v))
                    if hits:
                        break
                    r += _CHUNK
            while r < n:
                v = x[p + _u(r * s)]
                if (v == target) | (nan & (v != v)):
                    break
                r += 1
            out[_u(i)] = r
        return 0

    return address(find, 3), find
