"""Dtypes that Numba lacks, or reads carelessly: what compiled code takes in their place."""

from typing import NamedTuple

import numpy as np
from numba.extending import overload


class AsItIs(NamedTuple):
    """A dtype that Numba has."""


class Float16(NamedTuple):
    """float16 in uint16."""


class BFloat16(NamedTuple):
    """bfloat16, the upper half of float32, in uint16."""


class Truth(NamedTuple):
    """bool in uint8, where any byte but 0 is true."""


def is_half(dtype):
    """Whether it is float16 or bfloat16, in the machine's byte order."""
    return dtype == np.float16 or dtype.name == "bfloat16"


def stored_as(dtype):
    """(form, dtype of what lies in memory, dtype of what `widen` makes of it)."""
    if dtype.kind == "b":
        return Truth, np.dtype(np.uint8), np.dtype(np.uint8)
    if not is_half(dtype):
        return AsItIs, dtype, dtype
    form = Float16 if dtype.kind == "f" else BFloat16
    return form, np.dtype(np.uint16), np.dtype(np.float32)


def widen(form, x):
    """The number that an element stands for."""
    raise TypeError("only for compiled code")


@overload(widen, jit_options={"forceinline": True, "fastmath": False})
def _widen(form, x):
    if form.instance_class is AsItIs:
        return lambda form, x: x
    if form.instance_class is Truth:
        return lambda form, x: np.uint8(x != 0)
    u, f = np.uint32, np.float32
    if form.instance_class is BFloat16:
        return lambda form, x: u(u(x) << u(16)).view(f)
    scale, infinity, infinite = f(2.0**112), u(0x0F800000), u(0x7F800000)

    def float16(form, x):
        # Exponents have 5 bits, not 8: what is finite is scaled, denormal numbers too.
        size = u(u(x) & u(0x7FFF)) << u(13)
        scaled = f(u(size).view(f) * scale)
        bits = f(scaled).view(u) | (infinite if size >= infinity else u(0))
        return u(bits | (u(u(x) & u(0x8000)) << u(16))).view(f)

    return float16
