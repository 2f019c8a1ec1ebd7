"""Elementary functions that LLVM vectorizes: calls of libm would run one element at a time."""

import numpy as np
from numba import types
from numba.extending import overload

from .._jit import njit

_f, _i = np.float32, np.int32
_LOG2E, _LN2_HI, _LN2_LO = _f(1.44269504088896341), _f(0.693359375), _f(-2.12194440e-4)
# The minimax polynomial of Cephes' expf on [-ln(2)/2, ln(2)/2].
_C0, _C1, _C2 = _f(1.9875691500e-4), _f(1.3981999507e-3), _f(8.3334519073e-3)
_C3, _C4, _C5 = _f(4.1665795894e-2), _f(1.6666665459e-1), _f(5.0000001201e-1)


# forceinline, not inline="always": that would give the code its caller's fastmath flags, and
# reassociation merges the two parts of ln 2.
@njit(forceinline=True, fastmath={"contract"})
def exp32(x):
    """exp of a float32: within 1.1 ulp, denormals too; overflow to inf, NaN stays NaN.

    x = n ln 2 + r (Cody and Waite), a polynomial in r, and a multiplication by 2**n in two steps
    so that neither leaves the exponent's range. 2.8-3.8 times faster than NumPy's.
    """
    x = _f(89.0) if x > _f(89.0) else x
    x = _f(-104.0) if x < _f(-104.0) else x
    n = np.rint(x * _LOG2E)
    r = x - n * _LN2_HI
    r = r - n * _LN2_LO
    p = ((((_C0 * r + _C1) * r + _C2) * r + _C3) * r + _C4) * r + _C5
    y = p * (r * r) + r + _f(1)
    exponent = _i(n)
    half = exponent >> _i(1)
    rest = _i(exponent - half)
    low = _i((half + _i(127)) << _i(23)).view(np.float32)
    high = _i((rest + _i(127)) << _i(23)).view(np.float32)
    return y * low * high


@njit(forceinline=True)
def two_sum(a, b):
    """(s, e): s = a + b rounded, s + e = a + b exactly (Knuth). If s is not finite, e is NaN."""
    s = a + b
    back = s - a
    return s, (a - (s - back)) + (b - back)


@njit(forceinline=True)
def exp_difference(x, m):
    """exp(x - m) of float32 or float64 within 2 ulp: the rounding of x - m, up to 2**-24 |x - m| in
    float32, is put right.

    d + e = x - m exactly, and exp(d + e) = exp(d) (1 + e) as e is tiny. Infinite x gives inf or 0,
    NaN gives NaN.
    """
    d, e = two_sum(x, -m)
    y = exp(d)
    return y + y * e if abs(e) < 1 else y


_SQRT_HALF, _MANTISSA = _i(0x3F3504F3), _i(0x7FFFFF)  # bits of sqrt(1/2); mask
_TINY, _TWO_23 = _f(2.0**-126), _f(2.0**23)
# The minimax polynomial of Cephes' logf on [sqrt(1/2) - 1, sqrt(2) - 1].
_L0, _L1, _L2 = _f(7.0376836292e-2), _f(-1.1514610310e-1), _f(1.1676998740e-1)
_L3, _L4, _L5 = _f(-1.2420140846e-1), _f(1.4249322787e-1), _f(-1.6668057665e-1)
_L6, _L7, _L8 = _f(2.0000714765e-1), _f(-2.4999993993e-1), _f(3.3333331174e-1)


@njit(forceinline=True, fastmath={"contract"})
def log32(x):
    """log of a float32: within 1 ulp, of denormals too; -inf at 0, NaN below, inf and NaN stay.

    x = 2**n (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), a polynomial in f, and n ln 2 in two parts.
    """
    small = x < _TINY
    scaled = _f(x * (_TWO_23 if small else _f(1)))
    bits = _i(scaled.view(np.int32) - _SQRT_HALF)
    n = _f(_i(bits >> _i(23))) - (_f(23) if small else _f(0))
    f = _i((bits & _MANTISSA) + _SQRT_HALF).view(np.float32) - _f(1)
    z = f * f
    p = ((((_L0 * f + _L1) * f + _L2) * f + _L3) * f + _L4) * f + _L5
    p = ((p * f + _L6) * f + _L7) * f + _L8
    y = (f * z * p + n * _LN2_LO) - _f(0.5) * z
    y = (f + y) + n * _LN2_HI
    y = y if x < _f(np.inf) else x  # inf, NaN
    y = y if x > _f(0) or x != x else _f(-np.inf)
    return y if x >= _f(0) or x != x else _f(np.nan)


def log(x):
    """log of a float32 by `log32`, of a float64 by libm."""
    raise TypeError("only for compiled code")


@overload(log, jit_options={"forceinline": True, "fastmath": False})
def _log(x):
    return (lambda x: log32(x)) if x == types.float32 else (lambda x: np.log(x))


def exp(x):
    """exp of a float32 by `exp32`, of a float64 by libm."""
    raise TypeError("only for compiled code")


@overload(exp, jit_options={"forceinline": True, "fastmath": False})
def _exp(x):
    return (lambda x: exp32(x)) if x == types.float32 else (lambda x: np.exp(x))


def row_max(x):
    """Largest entry of a float32 or float64 row, -inf if empty; a NaN may be found or not.

    Compared as integers in the order of the floats: LLVM vectorizes this without fastmath flags,
    which would let it assume that there is no NaN.
    """
    raise TypeError("only for compiled code")


@overload(row_max, jit_options={"fastmath": False})
def _row_max(x):
    if x.dtype == types.float32:
        integer, shift, low, smallest = np.int32, np.int32(31), np.int32(2**31 - 1), -(2**31)
    else:
        integer, shift, low, smallest = np.int64, np.int64(63), np.int64(2**63 - 1), -(2**63)
    floating = np.float32 if x.dtype == types.float32 else np.float64

    def compute(x):
        largest = integer(smallest)
        keys = x.view(integer)
        for i in range(keys.size):
            key = keys[i] ^ integer((keys[i] >> shift) & low)
            largest = key if key > largest else largest
        if keys.size == 0:
            return floating(-np.inf)
        return integer(largest ^ integer((largest >> shift) & low)).view(floating)

    return compute
