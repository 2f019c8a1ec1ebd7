"""What the reductions compute: each operation is a monoid, `merge` of `lift`ed elements.

An operation is an empty named tuple, so that the compiled engine (`_reduce_fold`) is specialized by
its type. Where it needs several numbers (moments), these are a tuple. `lift` also gets a context
`c`: the operation's own centre for each result and each leaf of the summation tree, or else which
element of its lane it is.
"""

from typing import NamedTuple

import numpy as np
from numba import types
from numba.extending import overload
from numba.np.numpy_support import as_dtype

from ._math import exp_difference


class Sum(NamedTuple):
    """Floats in float64, integers modulo 2**64."""


class Total(NamedTuple):
    """Sum in float64 of anything."""


class NanSum(NamedTuple):
    """Sum of what is not NaN."""


class SumAbs(NamedTuple):
    """Sum of absolute values of floats."""


class SumSquares(NamedTuple):
    """Sum of squares of floats."""


class Prod(NamedTuple):
    """Floats in float64, integers modulo 2**64."""


class NanProd(NamedTuple):
    """Product of what is not NaN."""


class Max(NamedTuple):
    """NaN where there is one."""


class Min(NamedTuple):
    """NaN where there is one."""


class WideMax(NamedTuple):
    """Max in float64."""


class NanMax(NamedTuple):
    """Skips NaN; -inf where there is nothing else."""


class NanMin(NamedTuple):
    """Skips NaN; inf where there is nothing else."""


class ArgMax(NamedTuple):
    """Max and which element of its lane it is: the first."""


class ArgMin(NamedTuple):
    """Min and which element of its lane it is: the first."""


class NanArgMax(NamedTuple):
    """NanMax and which element of its lane it is: the first, NaN being -inf."""


class NanArgMin(NamedTuple):
    """NanMin and which element of its lane it is: the first, NaN being inf."""


class Any(NamedTuple):
    """Not 0 where something is not zero; 1 once stored."""


class All(NamedTuple):
    """Not 0 where nothing is zero; 1 once stored."""


class AnyInf(NamedTuple):
    """1 where something is infinite."""


class CountNonzero(NamedTuple):
    """How many are not zero."""


class CountNumbers(NamedTuple):
    """How many are not NaN."""


class Moments(NamedTuple):
    """Sums of d and d**2, d = x - c, where c is the first element of the leaf.

    One pass over memory, and nothing cancels: sum(d**2) is at most leaf + 1 times its part about
    the leaf's own mean, as c is one of the elements.
    """


class NanMoments(NamedTuple):
    """Moments of what is not NaN, and how many those are; c is the first of those."""


class FirstNumber(NamedTuple):
    """The first that is not NaN, in float64."""


class LogSumExp(NamedTuple):
    """How many equal c, and the sum of exp(x - c) over the others; c is the leaf's maximum."""


OPS = {
    "sum": Sum,
    "total": Total,
    "nansum": NanSum,
    "sum_abs": SumAbs,
    "sum_squares": SumSquares,
    "prod": Prod,
    "nanprod": NanProd,
    "max": Max,
    "min": Min,
    "nanmax": NanMax,
    "nanmin": NanMin,
    "argmax": ArgMax,
    "argmin": ArgMin,
    "argnanmax": NanArgMax,
    "argnanmin": NanArgMin,
    "any": Any,
    "all": All,
    "any_inf": AnyInf,
    "count_nonzero": CountNonzero,
    "count_numbers": CountNumbers,
    "moments": Moments,
    "nanmoments": NanMoments,
    "logsumexp": LogSumExp,
}
ARGS = (ArgMax, ArgMin, NanArgMax, NanArgMin)
_PARTS = {Moments: 2, NanMoments: 3, LogSumExp: 2, **dict.fromkeys(ARGS, 2)}
# Operations with a centre, and the one that finds it.
CENTRED = {Moments: FirstNumber, NanMoments: FirstNumber, LogSumExp: WideMax}
# Operations that one element can settle, and the result that is final.
SETTLED = {Any: 1, All: 0, AnyInf: 1}
_EXTREMA = (Max, Min, NanMax, NanMin, WideMax, *ARGS)
_LARGEST = (Max, NanMax, WideMax, ArgMax, NanArgMax)
_COUNTS = (CountNonzero, CountNumbers)
_FLAGS = (Any, All, AnyInf)


def is_any_order(op, dtype):
    """Whether the result has the same bits in whatever order elements are merged."""
    return op in (*_FLAGS, *_COUNTS, *ARGS) or (dtype.kind in "iub" and op in (Sum, Prod, Max, Min))


def parts_of(op, dtype):
    """How many numbers an accumulator of `dtype` is.

    Max and Min of floats are two, the other says whether there is a NaN: half the instructions.
    """
    return _PARTS.get(op, 2 if op in (Max, Min) and dtype.kind == "f" else 1)


def planes_of(op, dtype):
    """How many numbers the engine returns: the parts, then the centre."""
    return 1 if op in (Max, Min) else parts_of(op, dtype) + (op in CENTRED)


def accumulator(op, dtype):
    """Scalar type in which a leaf of `dtype` is accumulated."""
    if op in ARGS and dtype.itemsize == 1:
        return np.int16  # it holds the element's number too
    if op in _EXTREMA:
        return np.float64 if op is WideMax else dtype.type
    if op in _FLAGS:
        return np.uint8
    if op in _COUNTS:
        return np.int32
    if op in (Sum, Prod) and dtype.kind in "iub":
        return np.int32 if op is Sum and dtype.itemsize <= 2 else np.int64
    return np.float64


def result_type(op, dtype):
    """Scalar type of the result: a count or a sum of small integers can outgrow a leaf's."""
    leaf = accumulator(op, dtype)
    if op in ARGS:
        return np.int64
    return np.int64 if leaf is np.int32 and op in (Sum, *_COUNTS) else leaf


def identity(op, dtype):
    """What changes nothing when merged: a scalar of the accumulator's type."""
    value = 1 if op in (Prod, NanProd, All) else np.nan if op is FirstNumber else 0
    if op in _EXTREMA:
        least = op in _LARGEST
        if dtype.kind == "f":
            value = -np.inf if least else np.inf
        else:
            value = np.iinfo(dtype).min if least else np.iinfo(dtype).max
    return accumulator(op, dtype)(value)


def lift(op, x, c):
    """The accumulator of one element, or a smaller integer that holds that of eight."""
    raise TypeError("only for compiled code")


def merge(op, a, b):
    """The accumulator of what `a` and then `b` stand for."""
    raise TypeError("only for compiled code")


_INLINE = {"forceinline": True, "fastmath": False}


@overload(lift, jit_options=_INLINE)
def _lift(op, x, c):
    op = op.instance_class
    cast = accumulator(op, as_dtype(x))
    zero, one = cast(0), cast(1)
    f8 = np.float64
    byte = as_dtype(x).itemsize == 1
    if op is Sum and byte:
        return lambda op, x, c: np.int16(x)
    if op in (Any, All) and byte:
        return lambda op, x, c: np.uint8(x)
    if op in (Sum, Total, Prod, FirstNumber):
        return lambda op, x, c: cast(x)
    if op is NanSum:
        return lambda op, x, c: cast(x) if x == x else zero
    if op is NanProd:
        return lambda op, x, c: cast(x) if x == x else one
    if op is SumAbs:
        return lambda op, x, c: abs(cast(x))
    if op is SumSquares:
        return lambda op, x, c: cast(x) * cast(x)
    if op in (Max, Min) and isinstance(x, types.Float):
        return lambda op, x, c: (x, x != x)
    if op in (Max, Min, WideMax):
        return lambda op, x, c: cast(x)
    if op in (ArgMax, ArgMin):
        return lambda op, x, c: (cast(x), cast(c))
    if op in (NanArgMax, NanArgMin):
        worst = identity(op, as_dtype(x))
        return lambda op, x, c: (x if x == x else worst, cast(c))
    if op in (NanMax, NanMin):
        worst = identity(op, as_dtype(x))
        return lambda op, x, c: x if x == x else worst
    if op is AnyInf:
        return lambda op, x, c: cast(abs(x) == np.inf)
    if op is CountNumbers:
        return lambda op, x, c: cast(x == x)
    if op is Moments:

        def moments(op, x, c):
            d = f8(x) - f8(c)
            return d, d * d

        return moments
    if op is NanMoments:

        def nanmoments(op, x, c):
            d = f8(x) - f8(c) if x == x else zero
            return d, d * d, f8(x == x)

        return nanmoments
    if op is LogSumExp:
        narrow = as_dtype(x).type

        def logsumexp(op, x, c):
            return f8(x == c), zero if x == c else f8(exp_difference(x, narrow(c)))

        return logsumexp
    return lambda op, x, c: cast(x != 0)


@overload(merge, jit_options=_INLINE)
def _merge(op, a, b):
    op = op.instance_class
    if op is ArgMax:
        return lambda op, a, b: b if (b[0] > a[0]) | ((b[0] != b[0]) & (a[0] == a[0])) else a
    if op is ArgMin:
        return lambda op, a, b: b if (b[0] < a[0]) | ((b[0] != b[0]) & (a[0] == a[0])) else a
    if op is NanArgMax:
        return lambda op, a, b: b if b[0] > a[0] else a
    if op is NanArgMin:
        return lambda op, a, b: b if b[0] < a[0] else a
    if op is Max and isinstance(a, types.BaseTuple):
        return lambda op, a, b: (b[0] if b[0] > a[0] else a[0], a[1] | b[1])
    if op is Min and isinstance(a, types.BaseTuple):
        return lambda op, a, b: (b[0] if b[0] < a[0] else a[0], a[1] | b[1])
    if op in (Moments, LogSumExp):
        return lambda op, a, b: (a[0] + b[0], a[1] + b[1])
    if op is NanMoments:
        return lambda op, a, b: (a[0] + b[0], a[1] + b[1], a[2] + b[2])
    if op in (Prod, NanProd):
        return lambda op, a, b: a * b
    if op is FirstNumber:
        return lambda op, a, b: a if a == a else b
    if op in (Max, WideMax):
        return lambda op, a, b: b if (b > a) | (b != b) else a
    if op is Min:
        return lambda op, a, b: b if (b < a) | (b != b) else a
    if op is NanMax:
        return lambda op, a, b: b if b > a else a
    if op is NanMin:
        return lambda op, a, b: b if b < a else a
    cast = as_dtype(a).type
    if op in (Any, AnyInf):  # LLVM would make a chain of `|`: half as fast
        return lambda op, a, b: b if b > a else a
    if op is All:
        return lambda op, a, b: b if b < a else a
    return lambda op, a, b: cast(a + b)


def join(op, a, b):
    """The accumulator of two lanes, of which neither comes before the other."""
    raise TypeError("only for compiled code")


@overload(join, jit_options=_INLINE)
def _join(op, a, b):
    if op.instance_class not in ARGS:
        return lambda op, a, b: merge(op, a, b)

    largest = op.instance_class in _LARGEST

    def lower(op, a, b):
        # One condition and plain values: choosing between tuples twice is not vectorized.
        better = (b[0] > a[0]) if largest else (b[0] < a[0])
        nan, other_nan = a[0] != a[0], b[0] != b[0]
        equal = (b[0] == a[0]) | (nan & other_nan)
        better = better | (other_nan & (not nan)) | (equal & (b[1] < a[1]))
        return b[0] if better else a[0], b[1] if better else a[1]

    return lower


def load(op, a, size, j):
    """The accumulator at j: its parts are `size` apart."""
    raise TypeError("only for compiled code")


def store(op, a, size, j, value):
    """Set the accumulator at j."""
    raise TypeError("only for compiled code")


@overload(load, jit_options=_INLINE)
def _load(op, a, size, j):
    parts = parts_of(op.instance_class, as_dtype(a.dtype))
    if parts == 2 and op.instance_class in (Max, Min):
        return lambda op, a, size, j: (a[j], a[j + size] != 0)
    if parts == 2:
        return lambda op, a, size, j: (a[j], a[j + size])
    if parts == 3:
        return lambda op, a, size, j: (a[j], a[j + size], a[j + size + size])
    return lambda op, a, size, j: a[j]


@overload(store, jit_options=_INLINE)
def _store(op, a, size, j, value):
    parts = parts_of(op.instance_class, as_dtype(a.dtype))

    def one(op, a, size, j, value):
        a[j] = value

    def two(op, a, size, j, value):
        a[j] = value[0]
        a[j + size] = value[1]

    def three(op, a, size, j, value):
        a[j] = value[0]
        a[j + size] = value[1]
        a[j + size + size] = value[2]

    return (one, two, three)[parts - 1]


def context(op, a, size, j, row):
    """What `lift` is told: the centre at j, in the plane after the parts, or the element's row."""
    raise TypeError("only for compiled code")


@overload(context, jit_options=_INLINE)
def _context(op, a, size, j, row):
    if op.instance_class not in CENTRED:
        return lambda op, a, size, j, row: row
    parts = np.uintp(_PARTS[op.instance_class])
    return lambda op, a, size, j, row: a[parts * size + j]
