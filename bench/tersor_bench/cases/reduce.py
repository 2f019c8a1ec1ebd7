"""Cases of the reductions: every kind of kernel, along every kind of axis, at small sizes too."""

import math

import numpy as np

import tersor

from ..case import Case, optional

# Whole arrays: what a call costs, what fits a cache, what does not.
_SIZES = ((10,), (1_000,), (100_000,), (10_000_000,))
_SQUARE, _TALL, _FLAT = (4096, 4096), (1_250_000, 8), (8, 1_250_000)
_SUMS = ("sum", "mean", "var", "nansum")
_OTHERS = ("max", "nanmax", "argmax", "any", "count_nonzero")
_TORCH = {"max": "amax", "norm": "linalg.vector_norm"}


def _inputs(name):
    def make(shape, dtype, rng):
        if name == "any":  # it must look at all of them
            return np.zeros(shape, dtype)
        if dtype.kind == "b":
            return rng.random(shape) < 0.5
        if dtype.kind == "i":
            return rng.integers(-100, 100, shape, dtype)
        return rng.standard_normal(shape).astype(dtype)

    return make


def _ours_and_numpys(name):
    return getattr(tersor, name), np.linalg.norm if name == "norm" else getattr(np, name)


def _contenders(name, axis):
    ours, numpys = _ours_and_numpys(name)

    def by_torch(x):
        torch = optional("torch")
        if torch is None:
            return None
        function = torch
        for part in _TORCH.get(name, name).split("."):
            function = getattr(function, part, None)
        if function is None:
            return None
        tensor = torch.from_numpy(x)
        if name == "var":
            return lambda: function(tensor, axis, correction=0)
        if name == "cumsum":
            return lambda: function(tensor, axis or 0)
        return (lambda: function(tensor)) if axis is None else lambda: function(tensor, dim=axis)

    def by_bottleneck(x):
        bottleneck = optional("bottleneck")
        if bottleneck is None or name not in ("nansum", "nanmax"):
            return None
        return lambda: getattr(bottleneck, name)(x, axis=axis)

    return {
        "tersor": lambda x: lambda: ours(x, axis=axis),
        "numpy": lambda x: lambda: numpys(x, axis=axis),
        "torch": by_torch,
        "bottleneck": by_bottleneck,
    }


def _check(name, axis):
    _, numpys = _ours_and_numpys(name)

    def check(x, result):
        want = numpys(x.astype(np.float64) if x.dtype.kind == "f" else x, axis=axis)
        np.testing.assert_allclose(np.asarray(result), want, rtol=1e-4, atol=1e-5 * x.size**0.5)

    return check


def _case(name, axis, shape, dtype="float32"):
    return Case(
        op=f"reduce.{name}({'' if axis is None else axis})",
        shape=shape,
        toy=tuple(min(n, 30) for n in shape),
        dtype=dtype,
        inputs=_inputs(name),
        contenders=_contenders(name, axis),
        bytes=lambda shape, itemsize: itemsize * int(np.prod(shape)) * (2 if "cum" in name else 1),
        check=_check(name, axis),
    )


def _exact_case(dtype, size, fsum):
    """A sum that is rounded once; `math.fsum` takes long, so it is not timed at every size.

    (What it gives for float32 is rounded twice: wrong once in 2**29 times.)
    """

    def check(x, result):
        np.testing.assert_array_equal(np.asarray(result), x.dtype.type(math.fsum(x)))

    contenders = {
        "tersor": lambda x: lambda: tersor.sum(x, exact=True),
        "tersor, not exact": lambda x: lambda: tersor.sum(x),
        "numpy": lambda x: lambda: np.sum(x),
    }
    if fsum:
        contenders["math.fsum"] = lambda x: lambda: x.dtype.type(math.fsum(x))
    return Case(
        op="reduce.sum(exact)",
        shape=(size,),
        toy=(5000,),
        dtype=dtype,
        inputs=_inputs("sum"),
        contenders=contenders,
        bytes=lambda shape, itemsize: itemsize * shape[0],
        check=check,
        inexact=dict.fromkeys(("tersor, not exact", "numpy"), "rounded after additions"),
    )


CASES = (
    *(_case(name, None, shape) for name in (*_SUMS, *_OTHERS, "cumsum") for shape in _SIZES),
    *(_case("sum", None, shape, "float64") for shape in _SIZES),
    *(_case(name, axis, _SQUARE) for name in (*_SUMS, *_OTHERS, "norm") for axis in (0, 1)),
    *(_case(name, 0, _TALL) for name in (*_SUMS, *_OTHERS)),
    *(_case(name, 1, _TALL) for name in (*_SUMS, *_OTHERS)),
    *(_case(name, axis, _FLAT) for name in ("sum", "max", "argmax") for axis in (0, 1)),
    *(
        _case(name, axis, _SQUARE, dtype)
        for dtype in ("float64", "int8", "int32", "bool")
        for name in ("sum", "any")
        for axis in (None, 0, 1)
    ),
    *(_case("max", None, _SQUARE, dtype) for dtype in ("float64", "int8")),
    *(_case("argmax", 0, _SQUARE, dtype) for dtype in ("float64", "int8")),
    *(_case("cumsum", axis, _SQUARE) for axis in (0, 1)),
    *(_exact_case(dtype, 100_000, True) for dtype in ("float32", "float64")),
    *(_exact_case(dtype, 10_000_000, False) for dtype in ("float32", "float64")),
)
