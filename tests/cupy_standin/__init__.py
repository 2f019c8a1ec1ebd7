"""A stand-in for CuPy that needs no GPU: arrays in host memory, kernels run by the PTX emulator.

It offers the narrow part of CuPy that tersor uses, refuses what CuPy refuses, and adds what a GPU
would not tell: arguments of the wrong size, reads of memory that nobody wrote, races. Its names and
signatures are compared with the real CuPy's by test_cupy_standin.py.
"""

import sys
from functools import cache
from types import ModuleType

import numpy as np

from . import array, cuda, functions, raw
from .adapter import adapt as adapt
from .array import ndarray as ndarray
from .raw import settings as settings


@cache
def module():
    """The stand-in as a module named cupy."""
    result = ModuleType("cupy")
    result.ndarray, result.RawModule = array.ndarray, raw.RawModule
    result.cuda, result.is_available = cuda, cuda.is_available
    for name in functions.PUBLIC:
        setattr(result, name, getattr(functions, name))
    for name in ("bool_ int8 uint8 int16 uint16 int32 uint32 int64 uint64").split():
        setattr(result, name, getattr(np, name))
    for name in ("float16", "float32", "float64", "dtype"):
        setattr(result, name, getattr(np, name))
    return result


def install(monkeypatch):
    """Let `import cupy` give the stand-in during a test."""
    monkeypatch.setitem(sys.modules, "cupy", module())
    monkeypatch.setitem(sys.modules, "cupy.cuda", cuda)
