"""Reductions in long double, which is rounded once."""

import math
from fractions import Fraction

import numpy as np

# (precision, exponent of the smallest number)
_FORMATS = {
    "float16": (11, -24),
    "bfloat16": (8, -133),
    "float32": (24, -149),
    "float64": (53, -1074),
}
_SIMPLE = {
    "max": np.max,
    "min": np.min,
    "any": np.any,
    "all": np.all,
    "any_inf": lambda x, axes: np.isinf(x).any(axes),
    "count_nonzero": np.count_nonzero,
    "count_numbers": lambda x, axes: (x == x).sum(axes),
    "nanmax": lambda x, axes: np.where(x == x, x, -np.inf).max(axes).astype(x.dtype),
    "nanmin": lambda x, axes: np.where(x == x, x, np.inf).min(axes).astype(x.dtype),
}


def reduce(op, x, axes, final=None, divisor=1):
    """`op` over `axes`: floats in float64, then divided, or their own dtype if it is exact.

    final : the dtype to which the caller will round it
    """
    x = _plain(x)
    if op in _SIMPLE:
        return np.asarray(_SIMPLE[op](x, axes))
    product = op in ("prod", "nanprod")
    if op.startswith("nan"):
        x = np.where(x == x, x, x.dtype.type(product))
    elif op == "sum_abs":
        x = abs(x)
    elif op == "sum_squares":
        x = np.square(x, dtype=np.longdouble)
    exact = op != "total" and x.dtype.kind in "iub"
    with np.errstate(all="ignore"):
        result = (np.prod if product else np.sum)(x, axes, None if exact else np.longdouble)
        return np.asarray(result) if exact else np.asarray(result, np.float64) / divisor


def exact_sum(x, axes, dtype):
    """The correctly rounded sum over `axes`, as float64 of the precision of `dtype`."""
    x = np.moveaxis(_plain(x).astype(np.float64), axes, range(len(axes)))
    shape = x.shape[len(axes) :]
    columns = x.reshape(-1, math.prod(shape)).T.tolist()
    return np.array([_rounded_sum(column, dtype) for column in columns], float).reshape(shape)


def _rounded_sum(numbers, dtype):
    special = [number for number in numbers if not math.isfinite(number)]
    if special:
        return sum(special)
    total = sum(map(Fraction, numbers))
    precision, lowest = _FORMATS[dtype.name]
    exponent = lowest  # of the last bit that is kept
    while abs(total) >= Fraction(2) ** (exponent + precision):
        exponent += 1
    multiple = round(total / Fraction(2) ** exponent)  # half to even
    try:
        return math.ldexp(multiple, exponent)
    except OverflowError:
        return math.copysign(math.inf, multiple)


def moments(x, axes, skip):
    """(count, sum of squared deviations from the mean) over `axes`; without NaN if `skip`."""
    x = _plain(x).astype(np.longdouble)
    with np.errstate(all="ignore"):
        valid = x == x if skip else np.ones(x.shape, bool)
        count = valid.sum(axes, keepdims=True)
        apart = x - np.where(valid, x, 0).sum(axes, keepdims=True) / count
        squares = np.where(valid, apart * apart, 0).sum(axes)
        return count.reshape(squares.shape).astype(np.float64), np.asarray(squares, np.float64)


def logsumexp(x, axes):
    """log(sum(exp(x))) over `axes`."""
    x = _plain(x).astype(np.longdouble)
    top = x.max(axes, keepdims=True)
    with np.errstate(all="ignore"):
        equal = x == top
        count = equal.sum(axes)
        others = np.where(equal, 0, np.exp(x - top)).sum(axes)
        result = top.reshape(count.shape) + np.log(count) + np.log1p(others / count)
        return np.asarray(result, np.float64)


def argreduce(op, x, axis):
    """Index along `axis` of the first max, min, nanmax or nanmin; NaN is the extremum of max."""
    x = _plain(x)
    if op.startswith("nan"):
        x = np.where(x == x, x, -np.inf if op == "nanmax" else np.inf)
    return np.asarray((np.argmax if op.endswith("max") else np.argmin)(x, axis))


def scan(op, x, axis, dtype):
    """Running sum, prod, nansum or nanprod along `axis`."""
    x = _plain(x)
    product = op in ("prod", "nanprod")
    if op.startswith("nan"):
        x = np.where(x == x, x, x.dtype.type(product))
    wide = np.longdouble if x.dtype.kind == "f" else np.int64
    with np.errstate(all="ignore"):
        return (np.cumprod if product else np.cumsum)(x, axis, wide).astype(dtype)


def _plain(x):
    return x.astype(np.float32) if x.dtype.name == "bfloat16" else x
