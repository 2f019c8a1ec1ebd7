"""The shortest way to reduce a small C-contiguous array: what NumPy's functions come to.

NumPy's public functions take 0.7 us and more until they are there, for options that were not given.
Sums and means of whole arrays beyond that go straight to a kernel.
"""

from collections.abc import Callable
from functools import cache
from math import inf, sqrt
from typing import Any, TypeAlias

import numpy as np

from ._backends import kernels
from ._reduce_least import least

# The answer for (array, axis or None); None where the long way has to be taken.
Short: TypeAlias = Callable[[Any, Any], Any]

FLOAT64 = np.dtype(np.float64)
_HALVES = tuple(np.dtype(code) for code in "ef")
_INTEGERS = tuple(np.dtype(code) for code in "bBhHiIlLqQ")
_BOOL = np.dtype(np.bool_)


def _mean(a: Any, axis: Any) -> Any:
    return np.add.reduce(a, axis, FLOAT64) / (a.size if axis is None else a.shape[axis])


def _var(a: Any, axis: Any) -> Any:
    total = np.add.reduce(a, axis, FLOAT64, keepdims=True)
    count = a.size // total.size
    deviation = a - total / count
    return np.add.reduce(deviation * deviation, axis) / count


def _norm(a: Any, axis: Any) -> Any:
    x = a.astype(FLOAT64, copy=False)
    if axis is not None:
        return np.sqrt(np.add.reduce(x * x, axis))
    x = x.reshape(-1)
    return np.float64(sqrt(x.dot(x)))


def _count_nonzero(a: Any, axis: Any) -> Any:
    if axis is None:
        return np.count_nonzero(a)
    return np.add.reduce(a.astype(_BOOL, copy=False), axis, np.intp)


def _ptp(a: Any, axis: Any) -> Any:
    return np.subtract(np.maximum.reduce(a, axis), np.minimum.reduce(a, axis))


def _rounded(short: Short) -> Short:
    """The same, in the array's own dtype."""

    def rounded(a: Any, axis: Any) -> Any:
        result = short(a, axis)
        return a.dtype.type(result) if type(result) is np.float64 else result.astype(a.dtype)

    return rounded


def _of_numbers(short: Short) -> Short:
    """The same, for what skips NaN: as long as there is none, which argmax would find."""

    def of_numbers(a: Any, axis: Any) -> Any:
        largest = a.item(a.argmax())
        return short(a, axis) if largest == largest else None

    return of_numbers


def _if_number(short: Short, found: Short) -> Short:
    """The same, for what would tell of NaN in the whole array: `found(a, answer)` is a number."""
    of_numbers = _of_numbers(short)

    def if_number(a: Any, axis: Any) -> Any:
        if axis is not None:
            return of_numbers(a, axis)
        answer = short(a, axis)
        number = found(a, answer)
        return answer if number == number else None

    return if_number


def _itself(a: Any, answer: Any) -> Any:
    return answer


def _at(a: Any, place: Any) -> Any:
    return a.item(place)


def _kernel_from(least: float, op: str, divided: bool, largest: float, short: Short) -> Short:
    """`short`, and from `least` elements on a kernel's sum or mean of the whole array."""

    def either(a: Any, axis: Any) -> Any:
        if a.size < least:
            return short(a, axis)
        axes, divisor = tuple(range(a.ndim)), a.size if divided else 1
        result = kernels("reduce", a).reduce(op, a, axes, a.dtype, divisor).item()
        return a.dtype.type(result) if -largest <= result <= largest else None

    return either


_ADDED: dict[str, Short] = {
    "sum": lambda a, axis: np.add.reduce(a, axis),
    "prod": lambda a, axis: np.multiply.reduce(a, axis),
    "cumsum": lambda a, axis: a.cumsum(axis),
    "cumprod": lambda a, axis: a.cumprod(axis),
    "mean": _mean,
    "var": _var,
    "std": lambda a, axis: np.sqrt(_var(a, axis)),
    "norm": _norm,
}
_ADDED_IN_FLOAT64: dict[str, Short] = {
    "sum": lambda a, axis: np.add.reduce(a, axis, FLOAT64),
    "prod": lambda a, axis: np.multiply.reduce(a, axis, FLOAT64),
    "cumsum": lambda a, axis: a.cumsum(axis, FLOAT64),
    "cumprod": lambda a, axis: a.cumprod(axis, FLOAT64),
}
_OF_HALVES = {name: _rounded(way) for name, way in {**_ADDED, **_ADDED_IN_FLOAT64}.items()}
_EXACT: dict[str, Short] = {
    "min": lambda a, axis: np.minimum.reduce(a, axis),
    "max": lambda a, axis: np.maximum.reduce(a, axis),
    "nanmin": _if_number(lambda a, axis: np.fmin.reduce(a, axis), _itself),
    "nanmax": _if_number(lambda a, axis: np.fmax.reduce(a, axis), _itself),
    "argmin": lambda a, axis: a.argmin(axis),
    "argmax": lambda a, axis: a.argmax(axis),
    "nanargmin": _if_number(lambda a, axis: a.argmin(axis), _at),
    "nanargmax": _if_number(lambda a, axis: a.argmax(axis), _at),
    "ptp": _ptp,
    "any": lambda a, axis: np.logical_or.reduce(a, axis),
    "all": lambda a, axis: np.logical_and.reduce(a, axis),
    "count_nonzero": _count_nonzero,
}
_OTHER_NAMES = {"amin": "min", "amax": "max", "average": "mean"}
_MEASURED_AS = {**_OTHER_NAMES, "std": "var", "nanstd": "nanvar"}


@cache
def short_ways(name: str) -> dict[Any, tuple[float, Short]]:
    """For each dtype: below how many elements there is a short way to reduction `name`, and it."""
    plain = _OTHER_NAMES.get(name, name.removeprefix("nan"))
    op = "scan" if "cum" in name else _MEASURED_AS.get(name, name)
    ways = {}
    for dtype in (*_HALVES, FLOAT64, *_INTEGERS, _BOOL):
        added = _OF_HALVES if dtype in _HALVES else _ADDED
        short = added.get(plain) or _EXACT.get(name) or _EXACT.get(plain)
        if short is None or (plain == "ptp" and dtype == _BOOL):
            continue
        if name.startswith("nan") and dtype.kind == "f" and name not in _EXACT:
            short = _of_numbers(short)
        below = least(op, dtype, True, (0,), (2**20,))
        if op in ("sum", "nansum", "mean") and dtype.kind == "f":
            largest, divided = float(np.finfo(dtype).max), op == "mean"
            short = _kernel_from(below, "sum" if divided else op, divided, largest, short)
            below = inf
        ways[dtype] = below, short
    return ways
