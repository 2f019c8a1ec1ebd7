"""Random words that depend on a seed and a place alone; `reference/_philox.py` says which."""

import numpy as np

from .._jit import njit
from ..reference._philox import LOW, MULTIPLIERS, WEYL

_u32, _u64 = np.uint32, np.uint64
_M0, _M1 = (_u64(m) for m in MULTIPLIERS)
_W0, _W1 = (_u64(w) for w in WEYL)
_LOW, _HALF = _u64(LOW), _u64(32)


@njit
def fill_words(seed, p, starts, n, out):
    """The words of entries p, p + 1, ... of rows of `n`; starts[r] is the number of r's first."""
    room = np.empty(out.size + 8 if out.size else 0, np.uint32)
    i = 0
    while i < out.size:
        row, c = (p + i) // n, (p + i) % n
        count = min(out.size - i, n - c)
        first = starts[row] + c
        skip = first % 4
        words = room[: (skip + count + 3) // 4 * 4]
        _fill(seed, first // 4, words)
        for k in range(count):  # a slice would have the code of its error compiled: 2 s
            out[i + k] = words[skip + k]
        i += count


@njit
def _fill(seed, first, out):
    """Words from number 4 * first on of the stream of a uint64 seed; out.size is a multiple of 4.

    One turn of the loop computes four words in 64-bit lanes, which LLVM vectorizes.
    """
    for i in range(out.size // 4):
        counter = _u64(first) + _u64(i)
        c0, c1, c2, c3 = counter & _LOW, counter >> _HALF, _u64(0), _u64(0)
        k0, k1 = seed & _LOW, seed >> _HALF
        for _ in range(10):
            p0, p1 = _M0 * c0, _M1 * c2
            c0, c2 = (p1 >> _HALF) ^ c1 ^ k0, (p0 >> _HALF) ^ c3 ^ k1
            c1, c3 = p1 & _LOW, p0 & _LOW
            k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
        out[4 * i], out[4 * i + 1] = _u32(c0), _u32(c1)
        out[4 * i + 2], out[4 * i + 3] = _u32(c2), _u32(c3)
