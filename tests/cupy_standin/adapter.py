"""Tests written for NumPy arrays, run on arrays of the device.

Where a function of tersor is called with backend="cuda", its arrays are put on the device, with
their strides, and what it returns comes back.
"""

import sys
from dataclasses import fields, is_dataclass, replace
from functools import wraps

import numpy as np
import pytest

from .array import Missing


def to_device(x):
    """A copy of a host array on the device of CuPy, or its stand-in, with the strides it has."""
    cupy = sys.modules["cupy"]
    if not x.dtype.isnative:
        x = x.astype(x.dtype.newbyteorder("="))
    if x.dtype.name == "bfloat16":
        return to_device(x.view(np.uint16)).view(x.dtype)
    low, high = np.lib.array_utils.byte_bounds(x)
    start = x.ctypes.data - low
    whole = start % x.itemsize == 0 and all(stride % x.itemsize == 0 for stride in x.strides)
    if x.size == 0 or x.flags.c_contiguous or not whole:  # the device knows no other addresses
        return cupy.asarray(x)
    memory = cupy.empty(high - low, np.uint8)
    view = cupy.ndarray(x.shape, x.dtype, memory.data + start, x.strides)
    view[...] = cupy.asarray(x)
    return view


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


def adapt(monkeypatch):
    """Let tersor's functions take host arrays with backend="cuda" during a test."""
    import tersor

    for name in tersor.__all__:
        value = getattr(tersor, name)
        if callable(value) and not isinstance(value, type):
            monkeypatch.setattr(tersor, name, adapted(value))
    update = tersor.Calibrator.update
    monkeypatch.setattr(tersor.Calibrator, "update", adapted(update))


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
            if not isinstance(x, sys.modules["cupy"].ndarray):
                return x
            for host, device in seen.values():
                if device is x:
                    host[...] = x.get()
                    return host
            return x.get()

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
