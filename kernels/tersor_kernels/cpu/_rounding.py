"""The orders of rounding that `_round_scaled` of `reference/quantize.py` defines."""

import numpy as np

from .._jit import njit

DIVIDE, MULTIPLY, ADD_FIRST, MULTIPLY_ADD, FMA, STOCHASTIC = range(6)
ORDERS = {
    "divide": DIVIDE,
    "multiply": MULTIPLY,
    "add_first": ADD_FIRST,
    "multiply_add": MULTIPLY_ADD,
    "fma": FMA,
    "stochastic": STOCHASTIC,
}


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
