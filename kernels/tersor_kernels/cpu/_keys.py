"""Unsigned integers in the order of a dtype: what selection compares.

Keys are computed on the fly from the bits of a float or an integer. A rule says how, as seven
constants:

    magnitude = bits & mask
    s         = (sign bit ? signed : 0) ^ flip          # all ones or 0
    key       = nan if magnitude > inf else (magnitude ^ s) - s + add

(m ^ s) - s is -m where s is all ones, so -0.0 and 0.0 have one key, and so have all NaN.
"""

from functools import cache
from math import ceil

import numpy as np

from .._jit import njit


def as_bits(x):
    """The bits of `x`, C-contiguous, as unsigned integers.

    Read-only always, so that kernels are compiled once and not again for read-only input.
    """
    flags = x.flags
    if not (flags.c_contiguous and flags.aligned and x.dtype.isnative):
        x = np.array(x, x.dtype.newbyteorder("="), order="C")
    bits = x.view(UNSIGNED[x.dtype.itemsize])
    bits.flags.writeable = False
    return bits


UNSIGNED = {size: np.dtype(f"u{size}") for size in (1, 2, 4, 8)}  # by bytes


@cache
def key_rule(dtype, order, nan="low"):
    """The constants of the keys of `dtype`, and how many low bits of a key can differ from 0.

    order : "ascending", "descending": a larger, smaller entry has a larger key; "magnitude"
    nan : "low" or "high", the key of NaN: below or above all others
    """
    kind = "f" if dtype.name == "bfloat16" else dtype.kind
    width = 8 * dtype.itemsize
    ones, half = 2**width - 1, 2 ** (width - 1)
    mask, inf, signed, flip = ones, ones, 0, 0
    if kind == "f":
        mask, signed = half - 1, ones
        inf = int(np.array(np.inf, dtype).view(f"u{dtype.itemsize}"))
    if order == "magnitude":
        # One is left free below, for NaN. |-2**(width-1)| takes the whole width.
        add = 1 if kind == "f" else 0
        signed = ones if kind == "i" else 0
        width -= kind == "f"
    elif order == "ascending":
        add = 0 if kind in "ub" else half
    else:
        flip = ones
        add = ones if kind in "ub" else half - (kind == "i")
    nan_key = 0 if nan == "low" else 2**width - 1
    constants = [mask, 8 * dtype.itemsize - 1, signed, flip, add, inf, nan_key]
    return np.array(constants, UNSIGNED[dtype.itemsize]), width


def key_from(value, dtype, order, constants):
    """The smallest key of entries that are at least `value`; None if none can be."""
    add = int(constants[4])
    if dtype.kind in "iub":
        info = np.iinfo(np.uint8 if dtype.kind == "b" else dtype)
        smallest, largest = info.min, info.max
        if order == "magnitude":
            smallest, largest = 0, max(info.max, -info.min)
        if value > largest:
            return None
        return constants.dtype.type(ceil(max(value, smallest)) + (order == "ascending") * add)
    with np.errstate(over="ignore"):
        nearest = np.array(max(value, 0) if order == "magnitude" else value).astype(dtype)
    magnitude = int(np.abs(nearest).view(f"u{dtype.itemsize}"))
    key = add + (-magnitude if nearest < 0 else magnitude)
    return constants.dtype.type(key + (float(nearest) < value))


def values_of(keys, dtype, constants):
    """The entries that have these keys in "descending" order; 0.0 for -0.0."""
    signed = (constants[4] - keys).view(f"i{keys.dtype.itemsize}")
    if dtype.kind in "iub":
        return signed.astype(dtype)
    bits = np.abs(signed).view(keys.dtype) | ((signed < 0) * ~constants[0])
    nan = np.array(np.nan, dtype).view(keys.dtype)
    return np.where(keys == 0, nan, bits).astype(keys.dtype).view(dtype)


@njit(forceinline=True)
def unpack(constants):
    """The constants by value: read from the array, they would be read again for each entry."""
    c = constants
    return (c[0], c[1], c[2], c[3], c[4], c[5], c[6])


@njit(forceinline=True)
def key_of(bits, rule):
    mask, sign, signed, flip, add, inf, nan = rule
    magnitude = bits & mask
    s = ((type(bits)(0) - (bits >> sign)) & signed) ^ flip  # a branch would be mispredicted
    return nan if magnitude > inf else type(bits)((magnitude ^ s) - s + add)


@cache
def own_keys(dtype):
    """The rule of keys themselves."""
    ones = 2 ** (8 * dtype.itemsize) - 1
    return np.array([ones, 0, 0, 0, 0, ones, 0], dtype)
