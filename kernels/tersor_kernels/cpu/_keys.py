"""Unsigned integers in the order of a dtype: what selection compares.

Keys are computed on the fly from the bits of a float or an integer. A rule says how, as six
constants:

    magnitude = bits & mask
    s         = (sign bit ? signed : 0) ^ flip          # all ones or 0
    key       = nan if magnitude > inf else (magnitude ^ s) - s + add

(m ^ s) - s is -m where s is all ones, so -0.0 and 0.0 have one key, and so have all NaN.
"""

from functools import cache
from math import ceil

import numpy as np


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
    return np.array([mask, signed, flip, add, inf, nan_key], np.uint64), width


def key_from(value, dtype, order):
    """The smallest key of entries that are at least `value`; None if none can be."""
    add = int(key_rule(dtype, order)[0][3])
    if dtype.kind in "iub":
        info = np.iinfo(np.uint8 if dtype.kind == "b" else dtype)
        smallest, largest = info.min, info.max
        if order == "magnitude":
            smallest, largest = 0, max(info.max, -info.min)
        if value > largest:
            return None
        return np.uint64(ceil(max(value, smallest)) + (order == "ascending") * add)
    with np.errstate(over="ignore"):
        nearest = np.array(max(value, 0) if order == "magnitude" else value).astype(dtype)
    magnitude = int(np.abs(nearest).view(f"u{dtype.itemsize}"))
    key = add + (-magnitude if nearest < 0 else magnitude)
    return np.uint64(key + (float(nearest) < value))
