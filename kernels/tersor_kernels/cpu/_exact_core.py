"""The sum of a leaf as two float64: exact, or what they lack is known.

With |x| < 2**t for the largest element, a sum that starts at 1.5 * 2**k with k large enough stays
between 2**k and 2**(k+1), and counts multiples of 2**(k-52): what an addition cuts off an element
is a float64, found without error. It is added to a second sum of the same kind, 2**(52-L) times
finer, where there are 2**L elements or fewer. With t too large for k, all is LEFT. (Error-free
vector transformations of Rump, Ogita and Oishi, 2008; in the "binned" sums of Ahrens, Demmel and
Nguyen, 7 additions an element: https://www.eecs.berkeley.edu/Pubs/TechRpts/2015/EECS-2015-229.html)
Of float32 whose exponents differ by 29 - L or less every sum in float64 is exact.
"""

from functools import cache

import numpy as np

from .._jit import njit
from ._native import address, array_at, call, prefetch

WIDTH = 256  # columns of a leaf
_LANES = 16  # columns, at least, of what is summed at a time; 32 made float32 a tenth slower
_AHEAD = 8192  # bytes: prefetching makes runs from memory faster
PEAK, PLAIN, FOLD, KEEP, COPY = range(5)
# The state of a leaf: arrays of WIDTH. PEAKS and LEAST, less 1, are the bits of the largest and of
# the smallest element but 0 (of float32 only), LEFT those of what is left, or 0.
PEAKS, LEAST, START1, START2, SUM1, SUM2, LEFT, STATES = (i * WIDTH for i in range(8))
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

    PEAK   PEAKS and LEAST = the extremes of each column and what is there
    PLAIN  SUM1 += elements
    FOLD   add elements to the sums, and the bits of what is left to LEFT
    KEEP   FOLD, and put what is left in the place of an element, a float64
    COPY   to[...] = the elements, `step` apart in a row, as float64
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
        if job == PEAK:
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
                        peaks[_u(LEAST) + j] = _smaller(peaks[_u(LEAST) + j], least)
                p += _u(8) * s
            for _ in range(rows % 8):
                for j in range(n):
                    b = integer(bits[p + j] & mask)
                    peaks[j] = _larger(peaks[j], np.int64(b))
                    if narrow:
                        least = np.int64(_least(b, b))
                        peaks[_u(LEAST) + j] = _smaller(peaks[_u(LEAST) + j], least)
                p += s
        elif job == PLAIN:
            for _ in range(rows // 8):
                for j in range(n):
                    q = p + j
                    a = np.float64(x[q]) + np.float64(x[q + s])
                    b = np.float64(x[q + _u(2) * s]) + np.float64(x[q + _u(3) * s])
                    c = np.float64(x[q + _u(4) * s]) + np.float64(x[q + _u(5) * s])
                    d = np.float64(x[q + _u(6) * s]) + np.float64(x[q + _u(7) * s])
                    sums[_u(SUM1) + j] += (a + b) + (c + d)
                p += _u(8) * s
            for _ in range(rows % 8):
                for j in range(n):
                    sums[_u(SUM1) + j] += np.float64(x[p + j])
                p += s
        elif job == FOLD:
            for _ in range(rows // 8):
                for j in range(n):
                    q = p + j
                    a, b, left = sums[_u(SUM1) + j], sums[_u(SUM2) + j], peaks[_u(LEFT) + j]
                    a, b, left, _ = _cut_twice(a, b, left, np.float64(x[q]))
                    a, b, left, _ = _cut_twice(a, b, left, np.float64(x[q + s]))
                    a, b, left, _ = _cut_twice(a, b, left, np.float64(x[q + _u(2) * s]))
                    a, b, left, _ = _cut_twice(a, b, left, np.float64(x[q + _u(3) * s]))
                    a, b, left, _ = _cut_twice(a, b, left, np.float64(x[q + _u(4) * s]))
                    a, b, left, _ = _cut_twice(a, b, left, np.float64(x[q + _u(5) * s]))
                    a, b, left, _ = _cut_twice(a, b, left, np.float64(x[q + _u(6) * s]))
                    a, b, left, _ = _cut_twice(a, b, left, np.float64(x[q + _u(7) * s]))
                    sums[_u(SUM1) + j], sums[_u(SUM2) + j], peaks[_u(LEFT) + j] = a, b, left
                p += _u(8) * s
            for _ in range(rows % 8):
                for j in range(n):
                    a, b, left = sums[_u(SUM1) + j], sums[_u(SUM2) + j], peaks[_u(LEFT) + j]
                    a, b, left, _ = _cut_twice(a, b, left, np.float64(x[p + j]))
                    sums[_u(SUM1) + j], sums[_u(SUM2) + j], peaks[_u(LEFT) + j] = a, b, left
                p += s
        elif job == KEEP:
            if wide:
                for _ in range(rows):
                    for j in range(n):
                        a, b, left = sums[_u(SUM1) + j], sums[_u(SUM2) + j], peaks[_u(LEFT) + j]
                        a, b, left, x[p + j] = _cut_twice(a, b, left, np.float64(x[p + j]))
                        sums[_u(SUM1) + j], sums[_u(SUM2) + j], peaks[_u(LEFT) + j] = a, b, left
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
def compiled(dtype):
    """Address of a dtype's core, and what keeps it alive."""
    function = _core(dtype)
    return address(function, 9), function


@njit
def _start(state, mantissa, job, w, lanes, rows):
    """Set where the sums of each column start, in all lanes; PLAIN if that is exact, else `job`."""
    peaks, sums = array_at(state, np.int64), array_at(state, np.float64)
    inf, bias = (255 << 23, 127) if mantissa == 23 else (2047 << 52, 1023)
    count, plain = np.int64(0), mantissa == 23
    while (np.int64(1) << count) < rows:
        count += 1
    for j in range(_u(w)):
        largest, least = peaks[j] >> 23, (peaks[_u(LEAST) + j] + 1) >> 23
        plain &= largest - max(least, 1) <= 29 - count and largest < 255
    if plain:
        for j in range(_u(w * lanes)):
            sums[_u(START1) + j] = sums[_u(SUM1) + j] = 0
            sums[_u(START2) + j] = sums[_u(SUM2) + j] = 0
            peaks[_u(LEFT) + j] = 0
        return PLAIN
    for j in range(_u(w)):
        k1 = max(max(peaks[j] >> mantissa, 1) - bias + count + 2, -1022)
        k2 = max(k1 - 52 + count, -1022)
        # As the bits of the float64.
        peaks[_u(START1) + j] = ((min(k1, 1023) + 1023) << 52) | (1 << 51)
        peaks[_u(START2) + j] = ((min(k2, 1023) + 1023) << 52) | (1 << 51)
        peaks[_u(LEFT) + j] = np.int64(peaks[j] >= inf) | np.int64(k1 > 1023)
    for lane in range(1, lanes):
        for j in range(_u(w)):
            i = _u(lane * w) + j
            sums[_u(START1) + i] = sums[_u(START1) + j]
            sums[_u(START2) + i] = sums[_u(START2) + j]
            peaks[_u(LEFT) + i] = 0
    for j in range(_u(w * lanes)):
        sums[_u(SUM1) + j] = sums[_u(START1) + j]
        sums[_u(SUM2) + j] = sums[_u(START2) + j]
    return job


@njit
def split(code, mantissa, job, x, offset, stride, rows, w, lanes, state):
    """Sum each of w columns, in `lanes` lanes if rows are contiguous: into SUM1, SUM2 and LEFT."""
    peaks, sums = array_at(state, np.int64), array_at(state, np.float64)
    full, rest, n = rows // lanes, rows % lanes * w, lanes * w
    step, tail = lanes * stride, offset + full * lanes * stride
    for j in range(_u(n)):
        peaks[j], peaks[_u(LEAST) + j] = 0, 0xFFFFFFFF
    call(code, (PEAK, x, offset, step, full, n, 1, state, 0))
    if rest:
        call(code, (PEAK, x, tail, step, 1, rest, 1, state, 0))
    half = n // 2
    while half >= w:
        for j in range(_u(half)):
            i = _u(half) + j
            peaks[j] = max(peaks[j], peaks[i])
            peaks[_u(LEAST) + j] = min(peaks[_u(LEAST) + j], peaks[_u(LEAST) + i])
        half //= 2
    job = _start(state, mantissa, job, w, lanes, rows)
    call(code, (job, x, offset, step, full, n, 1, state, 0))
    if rest:
        call(code, (job, x, tail, step, 1, rest, 1, state, 0))
    for j in range(_u(n)):
        sums[_u(SUM1) + j] -= sums[_u(START1) + j]
        sums[_u(SUM2) + j] -= sums[_u(START2) + j]
    half = n // 2
    while half >= w:
        for j in range(_u(half)):
            i = _u(half) + j
            sums[_u(SUM1) + j] += sums[_u(SUM1) + i]
            sums[_u(SUM2) + j] += sums[_u(SUM2) + i]
            peaks[_u(LEFT) + j] |= peaks[_u(LEFT) + i]
        half //= 2


@njit
def lanes_of(w, rows):
    """Lanes for contiguous rows of w."""
    lanes = np.int64(1)
    while lanes * w < _LANES and lanes * 16 <= rows:
        lanes *= 2
    return lanes
