"""Tests written for NumPy arrays, run on arrays of the device.

Where a function of tersor is called with backend="cuda", its arrays are put on the device, with
their strides, and what it returns comes back.
"""

from dataclasses import fields, is_dataclass, replace
from functools import wraps

import numpy as np
import pytest

from .array import Missing, checked, ndarray, wrapped


def to_device(x):
    """A copy of a host array on the device, with the strides it has."""
    if not x.dtype.isnative:
        x = x.astype(x.dtype.newbyteorder("="))
    checked(x.dtype)
    if x.size == 0 or x.ndim == 0:
        return wrapped(_filled(ndarray(x.shape, x.dtype).host, x))
    low, high = np.lib.array_utils.byte_bounds(x)
    start = x.ctypes.data - low
    if start % x.itemsize or any(stride % x.itemsize for stride in x.strides):
        return wrapped(_filled(ndarray(x.shape, x.dtype).host, x))  # the device has no such arrays
    # What precedes the first entry keeps its place, so that views stay as misaligned as they are.
    memory = ndarray((high - low,), np.uint8).host
    view = np.ndarray(x.shape, x.dtype, memory, start, x.strides)
    return wrapped(_filled(view, x))


def _filled(target, x):
    target[...] = x
    return target


def mapped(function, tree):
    """`tree` with `function` applied to what its tuples, lists, dicts and dataclasses hold."""
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(mapped(function, x) for x in tree))
    if isinstance(tree, (list, tuple)):
        return type(tree)(mapped(function, x) for x in tree)
    if isinstance(tree, dict):
        return {name: mapped(function, x) for name, x in tree.items()}
    if is_dataclass(tree) and not isinstance(tree, type):
        return replace(
            tree, **{f.name: mapped(function, getattr(tree, f.name)) for f in fields(tree)}
        )
    return function(tree)


def adapted(function):
    """`function` of tersor for tests that call it with host arrays and backend="cuda"."""

    @wraps(function)
    def call(*args, **kwargs):
        if kwargs.get("backend") != "cuda":
            return function(*args, **kwargs)
        seen = {}  # one array stays one array: `out` may be an input

        def put(x):
            if not isinstance(x, np.ndarray):
                return x
            if id(x) not in seen:
                seen[id(x)] = (x, to_device(x))
            return seen[id(x)][1]

        def back(x):
            if not isinstance(x, ndarray):
                return x
            for host, device in seen.values():
                if device is x:
                    host[...] = x.host
                    return host
            return x.host.copy()

        first, *rest = args if args else (None,)
        if args and isinstance(first, (list, int, float, np.generic)):
            first = np.asarray(first)  # what NumPy would make of it, on the device
        given = mapped(put, (first, *rest) if args else ())
        try:
            result = function(*given, **mapped(put, kwargs))
        except Missing as error:  # what tersor leaves to CuPy itself
            pytest.skip(str(error))
        result = mapped(back, result)
        is_scalar = isinstance(result, np.ndarray) and result.ndim == 0 and "out" not in kwargs
        return result[()] if is_scalar else result  # as NumPy's functions give it

    return call
