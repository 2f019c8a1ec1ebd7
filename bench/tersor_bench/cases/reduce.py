"""Cases of the reductions: every kernel at four sizes, the main ones on every axis and layout."""

import math
from typing import Any, NamedTuple

import numpy as np

import tersor

from ..case import Case, optional

_MAIN = (
    *("sum", "mean", "min", "max", "any", "all", "nansum", "nanmax", "count_nonzero", "argmax"),
    *("var", "std", "norm"),
)
_REST = (
    *("prod", "ptp", "argmin", "nanmean", "nanprod", "nanmin", "nanvar", "nanstd", "nanargmax"),
    *("nanargmin", "cumsum", "cumprod", "nancumsum", "nancumprod", "logsumexp"),
)
# Whole arrays: what a call costs, what fits a cache, what does not.
_SIZES = ((10,), (1_000,), (100_000,), (10_000_000,))
_HUGE = (100_000_000,)
_SQUARE, _TALL, _FLAT, _MIDDLE = (4096, 4096), (1_250_000, 8), (8, 1_250_000), (64, 4096, 64)

_EVERY_SECOND, _REVERSED, _FORTRAN = " of every second", " reversed", " in Fortran order"
_FIRST_TRUE = " from a first True"

_TORCH = {"max": "amax", "min": "amin", "norm": "linalg.vector_norm"}
_TORCH_LACKS = {("argmax", "bool"), *(("mean", dtype) for dtype in ("int8", "int32", "bool"))}
# They have more under these names, but not for one of the inputs here.
_BOTTLENECK = ("nansum", "nanmean", "nanmax", "nanmin", "nanvar", "nanstd", "nanargmax")
_NUMBAGG = (*_BOTTLENECK, "nanargmin")


class _Inputs(NamedTuple):
    x: Any
    want: Any  # the answer, in float64 where x is of floats


def _values(name, shape, dtype, rng):
    if name in ("any", "all"):  # it must look at each of them; np.zeros would not use memory yet
        return np.full(shape, name == "all", dtype)
    if "prod" in name:  # any other product overflows
        x = rng.integers(0, 2, shape, np.int8) * 2 - 1
        x = x.astype(dtype)
    elif dtype.kind == "b":
        x = rng.integers(0, 2, shape, np.int8) == 1
    elif dtype.kind == "i":
        x = rng.integers(-100, 100, shape, dtype)
    else:
        x = rng.standard_normal(shape, dtype)
    if name.startswith("nan"):
        x[rng.random(shape, np.float32) < 0.01] = np.nan
    return x


def _inputs(name, axis, layout):
    def make(shape, dtype, rng):
        if layout == _EVERY_SECOND:
            x = _values(name, (*shape[:-1], 2 * shape[-1]), dtype, rng)[..., ::2]
        else:
            x = _values(name, shape, dtype, rng)
        if layout == _REVERSED:
            x = x[..., ::-1]
        elif layout == _FORTRAN:
            x = np.asfortranarray(x)
        elif layout == _FIRST_TRUE:
            x[0] = True
        exact = x.astype(np.float64) if dtype.kind == "f" else x
        return _Inputs(x, _trusted(name)(exact, axis=axis))

    return make


def _trusted(name):
    """NumPy's function, or SciPy's where NumPy has none."""
    if name == "logsumexp":
        return optional("scipy.special").logsumexp
    return np.linalg.norm if name == "norm" else getattr(np, name)


def _by_torch(name, axis):
    def make(inputs):
        torch, x = optional("torch"), inputs.x
        if torch is None or (name, x.dtype.name) in _TORCH_LACKS or min(x.strides) < 0:
            return None
        function = torch
        for part in _TORCH.get(name, name).split("."):
            function = getattr(function, part, None)
        if function is None:
            return None
        tensor = torch.from_numpy(x)
        if name in ("var", "std"):
            return lambda: function(tensor, axis, correction=0)
        if "cum" in name or name == "logsumexp":  # they need an axis
            dim = 0 if axis is None else axis
            return lambda: function(tensor, dim)
        return (lambda: function(tensor)) if axis is None else lambda: function(tensor, dim=axis)

    return make


def _by_library(library, names, name, axis):
    def make(inputs):
        module, x = optional(library), inputs.x
        if module is None or name not in names:
            return None
        function = getattr(module, name)
        if name in ("nanvar", "nanstd"):
            return lambda: function(x, axis=axis, ddof=0)
        return lambda: function(x, axis=axis)

    return make


def _check(inputs, result):
    x, want = inputs
    if np.asarray(want).dtype.kind == "f":
        np.testing.assert_allclose(np.asarray(result), want, rtol=1e-4, atol=1e-5 * x.size**0.5)
    else:
        np.testing.assert_array_equal(np.asarray(result), want)


def _case(name, axis, shape, dtype="float32", layout=""):
    ours, trusted = getattr(tersor, name), _trusted(name)
    reads = 2 if layout == _EVERY_SECOND else 1  # memory comes in whole cache lines

    def moved(shape, itemsize):
        if layout == _FIRST_TRUE:
            return itemsize
        return itemsize * math.prod(shape) * (reads + ("cum" in name))

    return Case(
        op=f"reduce.{name}({'' if axis is None else axis}){layout}",
        shape=shape,
        toy=tuple(min(n, 30) for n in shape),
        dtype=dtype,
        inputs=_inputs(name, axis, layout),
        contenders={
            "tersor": lambda inputs: lambda: ours(inputs.x, axis=axis),
            "scipy" if name == "logsumexp" else "numpy": (
                lambda inputs: lambda: trusted(inputs.x, axis=axis)
            ),
            "torch": _by_torch(name, axis),
            "bottleneck": _by_library("bottleneck", _BOTTLENECK, name, axis),
            "numbagg": _by_library("numbagg", _NUMBAGG, name, axis),
        },
        bytes=moved,
        check=_check,
        inexact={
            "nansum": dict.fromkeys(("bottleneck", "numbagg"), "adds in float32"),
            "cumsum": {"numpy": "adds in float32"},
            "nancumsum": {"numpy": "adds in float32"},
            "norm": dict.fromkeys(("numpy", "torch"), "adds in float32"),
        }.get(name, {}),
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
        op="reduce.sum_exact()",
        shape=(size,),
        toy=(5000,),
        dtype=dtype,
        inputs=lambda shape, dtype, rng: _values("sum", shape, dtype, rng),
        contenders=contenders,
        bytes=lambda shape, itemsize: itemsize * shape[0],
        check=check,
        inexact=dict.fromkeys(("tersor, not exact", "numpy"), "rounded after additions"),
    )


CASES = (
    *(_case(name, None, shape) for name in (*_MAIN, *_REST) for shape in _SIZES),
    *(_case(name, None, _HUGE) for name in ("sum", "max", "argmax", "nansum", "count_nonzero")),
    *(
        _case(name, axis, shape)
        for name in _MAIN
        for shape in (_SQUARE, _TALL, _FLAT)
        for axis in (0, 1)
    ),
    *(_case(name, 1, _MIDDLE) for name in _MAIN),
    *(_case(name, axis, _SQUARE) for name in ("cumsum", "logsumexp") for axis in (0, 1)),
    *(
        _case(name, axis, shape, dtype)
        for name in ("sum", "max", "argmax", "any", "mean")
        for dtype in ("float64", "int8", "int32", "bool")
        for axis, shape in (*((None, shape) for shape in _SIZES), (0, _SQUARE), (1, _SQUARE))
    ),
    *(
        _case(name, axis, shape, layout=layout)
        for name in ("sum", "max", "argmax")
        for layout in (_EVERY_SECOND, _REVERSED)
        for axis, shape in ((None, _SIZES[1]), (None, _SIZES[3]), (0, _SQUARE), (1, _SQUARE))
    ),
    *(
        _case(name, axis, _SQUARE, layout=_FORTRAN)
        for name in ("sum", "max", "argmax")
        for axis in (None, 0, 1)
    ),
    *(_case("any", None, shape, "bool", _FIRST_TRUE) for shape in _SIZES),
    *(_exact_case(dtype, 100_000, True) for dtype in ("float32", "float64")),
    *(_exact_case(dtype, 10_000_000, False) for dtype in ("float32", "float64")),
)
