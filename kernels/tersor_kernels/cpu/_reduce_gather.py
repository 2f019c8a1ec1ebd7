"""Copies of elements that lie apart in memory, by which a tile of a reduction becomes dense."""

from functools import cache

import numpy as np

from .._jit import njit
from ._native import address, array_at, call, prefetch
from ._strided import copy_evens, evens, transpose

_SIDE = 8  # of the squares that are transposed
_AHEAD, _PIECE = 8192, 1024  # bytes: prefetching as much as this at a time halves the time
_u = np.uintp  # an unsigned index can not wrap round, so that the loop vectorizes


@njit(cache=False, forceinline=True)
def _copy_row(dtype, chunk, size, x, step, out, out_step, n):
    """Copy n elements between strides; steps known to the compiler make loops of vector code."""
    a, b = array_at(x, dtype), array_at(out, dtype)
    if step == 1 and out_step == 1:
        for j in range(_u(n)):
            b[j] = a[j]
    elif step == -1 and out_step == 1:
        for j in range(_u(n)):
            b[j] = a[-j]
    else:
        j = 0
        if step == 2 and out_step == 1:
            while j + chunk < n:
                copy_evens(dtype, x + 2 * j * size, out + j * size)
                j += chunk
        i, k = _u(j * step), _u(j * out_step)
        for _ in range(j, n):
            b[k] = a[i]
            i += _u(step)
            k += _u(out_step)


def _copier(dtype):
    """copy(x, out, p, q, m, ps, qs, n, pt, qt): an (m, n) block between any strides."""
    size, chunk = np.int64(dtype.itemsize), evens(dtype.itemsize)

    @njit
    def copy(x, out, p, q, m, ps, qs, n, pt, qt):
        source, target = x + p * size, out + q * size
        r = 0
        if pt == 1 and qs == 1 and ps > 0:
            # A square reads past the ends of its rows, but not past the last of the block's.
            end, last = (m - 1) * ps + n - _SIDE, (n - 1) // _SIDE * _SIDE
            ahead, step = max(_AHEAD, _SIDE * ps * size), max(64, ps * size)
            while r + _SIDE <= m and (r + _SIDE - 1) * ps + last <= end:
                part = source + r * ps * size
                for later in range(part + ahead, part + ahead + _SIDE * ps * size, step):
                    for line in range(later, later + min(step, n * size), 64):
                        prefetch(line)
                for j in range(0, n, _SIDE):
                    to = target + (r + j * qt) * size
                    transpose(dtype, _SIDE, part + j * size, ps * size, to, qt * size, n - j)
                r += _SIDE
        span = abs(pt) * size  # a CPU has many misses under way where it is a line or more
        piece = max(chunk, _PIECE // span // chunk * chunk) if 0 < span < 64 else max(1, n)
        ahead = _AHEAD if n > 2 * piece else (ps if m > 1 else n * pt) * size  # or the next row
        ahead = -ahead if n > 2 * piece and pt < 0 else ahead
        for row in range(r, m):
            part, to = source + row * ps * size, target + row * qs * size
            for j in range(0, n, piece):
                count = min(piece, n - j)
                if 0 < span < 64:
                    for line in range(0, count * span, 64):
                        prefetch(part + j * pt * size + ahead + (line if pt > 0 else -line))
                place, to_place = part + j * pt * size, to + j * qt * size
                _copy_row(dtype, chunk, size, place, pt, to_place, qt, count)
        return 0

    return copy


@cache
def copier(itemsize):
    """Address of a copier of elements of so many bytes, and what keeps it alive."""
    function = _copier(np.dtype(f"u{itemsize}"))
    return address(function, 10), function


@njit
def gather(copy, x, offset, n2, s1, s2, si, first, rows, w, out):
    """out[r * w + j] = element first + r of column j, walking memory as it lies.

    Element i lies at x[offset + i // n2 * s1 + i % n2 * s2], the next column's `si` further on.
    """
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
