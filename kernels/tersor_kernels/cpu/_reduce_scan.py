"""Running sums and products: chains of CHAIN elements, then what the chains before amount to.

Element i of chain k is merge(total of the chains before, scan within the chain), which never falls
where nothing is negative; both terms are sequential, so that the bits depend on n alone.
"""

from functools import cache

import numpy as np

from .._jit import njit
from ._native import address, array_at, at, run
from ._parallel import workers
from ._reduce_ops import NanProd, Prod, lift, merge

CHAIN = 2048
_WIDTH = 256  # columns that are walked together
_u = np.uintp


def scan_axis(kind, x, axis, dtype):
    """The running sum or product of `x` along `axis`; the result lies in memory as `x` does."""
    order = sorted(range(x.ndim), key=lambda i: -abs(x.strides[i]))
    out = np.empty([x.shape[i] for i in order], dtype).transpose(np.argsort(order))
    kept = _common_levels(x, out, [i for i in order if i != axis])
    if len(kept) > 2:
        x, out = np.ascontiguousarray(x), np.empty(x.shape, dtype)
        kept = _common_levels(x, out, [i for i in range(x.ndim) if i != axis])
    (outer, so, to), (inner, si, ti) = [(1, 0, 0)] * (2 - len(kept)) + kept
    n, s, t = x.shape[axis], x.strides[axis] // x.itemsize, out.strides[axis] // out.itemsize
    work = x.size
    chains = -(-n // CHAIN)
    totals = np.empty((chains, outer * inner), np.float64 if x.dtype.kind == "f" else np.int64)
    arrays = x, out, totals
    place = [outer, so, to, n, s, t, inner, si, ti]
    if si == 1 and ti == 1 and inner >= 8:
        blocks = outer * -(-inner // _WIDTH)
        code, place = _walker(kind, x.dtype, dtype)[0], np.array(place)
        run(workers(), code, blocks, arrays, place, 16 * _WIDTH, work // 4)
        return out
    code, blocks = _scanner(kind, x.dtype, dtype)[0], -(-outer * inner * chains // 4)
    if chains > 1:
        run(workers(), code, blocks, arrays, np.array([*place, 1]), 0, work)
        before = totals[:-1].copy()
        totals[0] = -0.0 if kind not in (Prod, NanProd) else 1
        with np.errstate(all="ignore"):
            (np.multiply if kind in (Prod, NanProd) else np.add).accumulate(before, out=totals[1:])
    else:
        totals[:] = -0.0 if kind not in (Prod, NanProd) else 1
    run(workers(), code, blocks, arrays, np.array([*place, 0]), 0, work)
    return out


def _common_levels(x, out, axes):
    """(size, stride in x, stride in out) of the axes; those that form one range in both are one."""
    levels = []
    for axis in axes:
        n = x.shape[axis]
        s, t = x.strides[axis] // x.itemsize, out.strides[axis] // out.itemsize
        if n == 1:
            continue
        if levels and levels[-1][1:] == (n * s, n * t):
            levels[-1] = levels[-1][0] * n, s, t
        else:
            levels.append((n, s, t))
    return levels


def _start(kind, dtype):
    """Accumulator type and its identity: -0.0, which leaves a first -0.0 as it is."""
    lane = np.float64 if dtype.kind == "f" else np.int64
    return lane, lane(1 if kind in (Prod, NanProd) else -0.0)


@cache
def _walker(kind, dtype, result):
    op, (lane, one) = kind(), _start(kind, dtype)

    @njit
    def walk(b, args, scratch):
        """Some columns of one outer place, row after row."""
        x, out = array_at(at(args, 0), dtype), array_at(at(args, 1), result)
        so, to, n, s = at(args, 4), at(args, 5), at(args, 6), at(args, 7)
        t, inner = at(args, 8), at(args, 9)
        within = array_at(scratch, lane)
        before = array_at(scratch + 8 * _WIDTH, lane)
        o, chunk = divmod(b, -(-inner // _WIDTH))
        w = _u(min(_WIDTH, inner - chunk * _WIDTH))
        p, q = _u(o * so + chunk * _WIDTH), _u(o * to + chunk * _WIDTH)
        for j in range(w):
            before[j] = one
        for r in range(n):
            if r % CHAIN == 0:
                for j in range(w):
                    before[j] = merge(op, before[j], within[j]) if r > 0 else one
                    within[j] = one
            for j in range(w):
                within[j] = merge(op, within[j], lane(lift(op, x[p + j], 0)))
                out[q + j] = merge(op, before[j], within[j])
            p += _u(s)
            q += _u(t)
        return 0

    return address(walk, 3), walk


@cache
def _scanner(kind, dtype, result):
    op, (lane, one) = kind(), _start(kind, dtype)

    @njit
    def scan(b, args, scratch):
        """Four chains: their totals, or their elements once the totals are those before them."""
        x, out = array_at(at(args, 0), dtype), array_at(at(args, 1), result)
        totals, only_total = array_at(at(args, 2), lane), at(args, 12)
        so, to, n, s, t = at(args, 4), at(args, 5), at(args, 6), at(args, 7), at(args, 8)
        outer, inner, si, ti = at(args, 3), at(args, 9), at(args, 10), at(args, 11)
        chains = -(-n // CHAIN)
        for k in range(4 * b, min(4 * b + 4, outer * inner * chains)):
            row, chain = divmod(k, chains)
            o, c = divmod(row, inner)
            first = chain * CHAIN
            count = min(CHAIN, n - first)
            p, q = _u(o * so + c * si + first * s), _u(o * to + c * ti + first * t)
            place = _u(chain * outer * inner + row)
            within, before = one, totals[place]
            if only_total:
                for _ in range(count):
                    within = merge(op, within, lane(lift(op, x[p], 0)))
                    p += _u(s)
                totals[place] = within
            else:
                for _ in range(count):
                    within = merge(op, within, lane(lift(op, x[p], 0)))
                    out[q] = merge(op, before, within)
                    p += _u(s)
                    q += _u(t)
        return 0

    return address(scan, 3), scan
