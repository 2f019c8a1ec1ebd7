"""CUDA C++ to kernels: compiled by NVRTC at first use, launched on CuPy's current stream.

Nothing here waits for the device. Every kernel is a template, compiled for the types of one call;
what it takes of the chip is promised in the .toml file beside the .cu file, and checked without a
GPU.
"""

import re
from functools import cache, wraps
from importlib.resources import files

import cupy
import numpy as np

# fmad: a product and a sum are two roundings, as everywhere else; what should fuse says fma().
OPTIONS = ("-std=c++17", "--fmad=false")

TYPES = {
    "bool": "bool",
    "int8": "signed char",
    "uint8": "unsigned char",
    "int16": "short",
    "uint16": "unsigned short",
    "int32": "int",
    "uint32": "unsigned",
    "int64": "long long",
    "uint64": "unsigned long long",
    "float16": "f16",
    "bfloat16": "bf16",
    "float32": "float",
    "float64": "double",
}


@cache
def source(name):
    """The text of a .cu file with what it includes of this folder pasted in.

    CuPy's cache of compiled kernels sees this text, not files that it would include.
    """
    return _pasted(name, set())


def _pasted(name, seen):
    seen.add(name)
    lines = [f'#line 1 "{name}"']
    for number, line in enumerate(files(__package__).joinpath(name).read_text().splitlines(), 1):
        included = re.fullmatch(r'#include "(\w+\.cuh)"', line)
        if included is None:
            lines.append(line)
        elif included[1] not in seen:
            lines += [_pasted(included[1], seen), f'#line {number + 1} "{name}"']
    return "\n".join(lines) + "\n"


@cache
def kernel(file, expression):
    """A kernel of a .cu file: `expression` is its name with template arguments."""
    module = cupy.RawModule(code=source(file), options=OPTIONS, name_expressions=(expression,))
    return module.get_function(expression)


def launch(file, expression, blocks, threads, *arguments, shared=0):
    """Run a kernel; `arguments` are CuPy arrays, NumPy scalars of the exact type, None for null."""
    given = tuple(np.uint64(0) if a is None else a for a in arguments)
    kernel(file, expression)((blocks,), (threads,), given, shared_mem=shared)


def on_device(function):
    """Run `function` with the device of its first argument current, where that is on one."""

    @wraps(function)
    def call(x, *args, **kwargs):
        if not isinstance(x, cupy.ndarray):
            return function(x, *args, **kwargs)
        with x.device:
            return function(x, *args, **kwargs)

    return call


def uploaded(x, dtype):
    """A small array as `dtype`, contiguous, on the current device; None stays None."""
    return None if x is None else cupy.ascontiguousarray(cupy.asarray(x), dtype)


def contiguous(x):
    """`x` in C order; CuPy can not copy bfloat16, but moves its bits."""
    if x.flags.c_contiguous:
        return x
    bits = x.view(np.uint16) if x.dtype.name == "bfloat16" else x
    return cupy.ascontiguousarray(bits).view(x.dtype)


def is_aligned(x, size=16):
    """Whether vectors of `size` bytes may be read from the start of contiguous array `x`."""
    return np.bool_(x.data.ptr % size == 0)
