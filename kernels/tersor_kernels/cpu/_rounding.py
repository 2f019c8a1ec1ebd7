"""Quotients rounded to integers, in the orders that `_round_scaled` of the reference has."""

import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from .._jit import njit
from ._ir import features, is_x86

DIVIDE, MULTIPLY, ADD_FIRST, MULTIPLY_ADD, FMA, STOCHASTIC = range(6)
ORDERS = {
    "divide": DIVIDE,
    "multiply": MULTIPLY,
    "add_first": ADD_FIRST,
    "multiply_add": MULTIPLY_ADD,
    "fma": FMA,
    "stochastic": STOCHASTIC,
}
_HAS_FMA = not is_x86() or "+fma" in features()  # else LLVM would call libm for each entry


@intrinsic
def _fma(typingctx, a, b, c):
    """a * b + c, rounded once."""
    return a(a, a, a), lambda context, builder, sig, args: builder.fma(*args)


# A division keeps the CPU as long as this function four times, but the quotient has to be that of
# a division to the last bit: where it is a tie, the next float is another integer. Markstein's
# theorem (Handbook of Floating-Point Arithmetic, 4.7) says that it is: `inverse` is 1 / scale
# rounded; with `rest`, what that left, the first q is within 0.5 + 2**-22 units in the last place
# of x / scale, so one of its two neighbours; then the remainder is exact and q + remainder *
# inverse, rounded once, is x / scale, rounded once. All as long as nothing overflows or underflows.
@njit(forceinline=True)
def can_multiply(scale):
    """Whether `quotient` may be used."""
    return _HAS_FMA and type(scale)(2.0**-60) <= scale <= type(scale)(2.0**60)


@njit(forceinline=True)
def reciprocal(scale):
    """1 / scale in two parts, for `quotient`."""
    one = type(scale)(1)
    inverse = one / scale
    return inverse, _fma(-inverse, scale, one) * inverse


@njit(forceinline=True)
def quotient(x, scale, inverse, rest):
    """x / scale as division rounds it, of an x that is at most 2**18 scales; NaN stays NaN."""
    q = _fma(x, inverse, x * rest)
    return _fma(_fma(-q, scale, x), inverse, q)


def low_bits(v):
    """An integer whose lowest 16 bits are those of v rounded half to even, |v| <= 2**18."""
    raise TypeError("only for compiled code")


# The sum ends where integers do: the addition rounds v, and leaves it in the mantissa.
@overload(low_bits, jit_options={"forceinline": True, "fastmath": False})
def _low_bits(v):
    if v == types.float32:
        return lambda v: np.float32(v + np.float32(1.5 * 2**23)).view(np.int32)
    return lambda v: np.float64(v + np.float64(1.5 * 2**52)).view(np.int64)


@njit(forceinline=True)
def clipped(v, zero, low, high):
    """`v` in low..high, `zero` for NaN."""
    v = low if v < low else v
    v = high if v > high else v
    return zero if v != v else v


@njit(forceinline=True)
def round_scaled(x, scale, zero, order, word):
    """x / scale + zero, rounded in an order of ORDERS; `word` is random."""
    one = type(scale)(1)
    if order == DIVIDE:
        return np.rint(x / scale) + zero
    if order == MULTIPLY:
        return np.rint(x * (one / scale)) + zero
    if order == ADD_FIRST:
        return np.rint(x / scale + zero)
    if order == MULTIPLY_ADD:
        return np.rint(x * (one / scale) + zero)
    if order == FMA:
        exact = np.float64(x) * np.float64(one / scale) + np.float64(zero)
        return np.rint(type(scale)(exact))
    v = x / scale
    floor = np.floor(v)
    random = type(scale)(word >> np.uint32(8)) * type(scale)(2**-24)
    return floor + (one if random < v - floor else zero - zero) + zero
