"""What a caller gives beside arrays, checked: errors name the argument, the rule and what came."""

from __future__ import annotations

from numbers import Integral, Real
from operator import index
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from ._backends import BACKENDS, as_array
from ._dtypes import FLOATS


def as_index(value: Any, name: str) -> int:
    """`value` as an int. A bool is none: it is more often in the wrong place than meant as 0 or 1.

    TypeError for what is no integer.
    """
    try:
        if not isinstance(value, bool):
            return index(value)
    except TypeError:
        pass
    raise TypeError(f"{name} must be an int, got {value!r:.60}")


def as_number(value: Any, name: str) -> float:
    """`value`, which may be a 0-d array, as an int or float, exactly; TypeError for other types."""
    if type(value) is float:
        return value
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    is_short = isinstance(value, np.generic) and value.dtype.name in FLOATS  # bfloat16 is no Real
    if isinstance(value, bool) or not (is_short or isinstance(value, Real)):
        raise TypeError(f"{name} must be a number, got {value!r:.60}")
    return float(value)


def check_flag(value: Any, name: str) -> None:
    """TypeError unless `value` is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r:.60}")


def check_one_of(value: Any, names: tuple[str | None, ...], argument: str) -> None:
    """ValueError unless `value` is one of `names`."""
    if not (value is None or isinstance(value, str)) or value not in names:
        rule = ", ".join(map(repr, names[:-1]))
        raise ValueError(f"{argument} must be {rule} or {names[-1]!r}, got {value!r:.60}")


def check_range(x: Any, low: int, high: int, name: str, of: str) -> None:
    """ValueError unless the integers of array `x` are in low..high."""
    wrong = x[(x < low) | (x > high)]
    if wrong.size:
        raise ValueError(f"{name} must be in {low}..{high} for {of}, got {wrong[0]}")


def check_array(x: Any, name: str) -> None:
    """TypeError unless `x` is an array of a backend, and of no subclass."""
    if type(x) is np.ndarray:
        return
    if not any(backend.owns(x) for backend in BACKENDS):
        raise TypeError(f"{name} must be an array, got {type(x).__name__}")
    as_array(x, name)


def check_out(out: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise unless `out` is None or a writeable array of `shape` and `dtype`, in any byte order."""
    if out is None:
        return
    check_array(out, "out")
    if out.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {out.shape}")
    if out.dtype != dtype and out.dtype.newbyteorder("=") != dtype:
        raise TypeError(f"out must have dtype {np.dtype(dtype)}, got {out.dtype}")
    if not getattr(out.flags, "writeable", True):  # CuPy's arrays all are
        raise ValueError("out must be writeable, got a read-only array")


def is_room(out: Any, *inputs: Any) -> TypeGuard[NDArray[Any]]:
    """Whether a kernel can write to `out`, an array or None, while it reads the inputs."""
    return out is not None and (
        out.flags.c_contiguous
        and getattr(out.flags, "aligned", True)
        and out.dtype.isnative
        and not any(x is not None and np.may_share_memory(out, x) for x in inputs)
    )


def placed(result: Any, out: Any) -> Any:
    """`result`, or `out` with a copy of it."""
    if out is None or out is result:
        return result
    out[...] = result
    return out
