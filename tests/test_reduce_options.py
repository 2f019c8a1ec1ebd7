"""Any call of a reduction that NumPy knows: any dtype, shape, layout and options, errors too."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16
from numpys import outcome as numpys_outcome

import tersor
from tersor.testing import assert_identical

SUMS = ("sum", "prod", "nansum", "nanprod")
MEANS = ("mean", "nanmean")
VARIANCES = ("var", "std", "nanvar", "nanstd")
EXTREMA = ("min", "max", "amin", "amax", "nanmin", "nanmax")
POSITIONS = ("argmin", "argmax", "nanargmin", "nanargmax")
SCANS = ("cumsum", "cumprod", "nancumsum", "nancumprod")
OTHERS = ("ptp", "any", "all", "count_nonzero", "average", "norm")
NAMES = SUMS + MEANS + VARIANCES + EXTREMA + POSITIONS + SCANS + OTHERS
ROUNDED = {*SUMS, *MEANS, *VARIANCES, *SCANS, "average", "norm"}

COMPILED = [np.dtype(t) for t in (bool, "b", "B", "i", "q", "Q", "e", "f", "d", bfloat16)]
OTHER_DTYPES = [np.dtype(t) for t in "hHIFD"]
LAYOUTS = ("C", "F", "strided", "negative", "broadcast", "swapped", "unaligned", "read-only")
OUTS = ("right", "float64", "float32", "int64", "shape", "read-only", "strided", "swapped", "list")
BAD_AXES = (9, 1.5, "a", True, (0, 0), (True,), [0])


@st.composite
def arrays(draw, name, dtypes):
    """An array whose sums are exact, now and then with NaN and infinities."""
    dtype = draw(st.sampled_from(dtypes))
    shape = draw(st.lists(st.integers(1, 5), max_size=4).map(tuple))
    if shape and draw(st.integers(0, 9)) == 0:
        shape = (*shape[:-1], 0)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if dtype.kind in "iu":
        whole = np.iinfo(dtype) if draw(st.booleans()) else None
        low, high = (whole.min, whole.max) if whole else (-3 * (dtype.kind == "i"), 3)
        x = rng.integers(low, high, shape, dtype, endpoint=True)
    else:
        x = rng.integers(-4, 5, shape) / 2
        x = np.sign(x) if "prod" in name else x
        x = (x + 0.5j * rng.integers(-4, 5, shape) if dtype.kind == "c" else x).astype(dtype)
        special = draw(st.sampled_from([None, None, [np.nan], [np.inf, -np.inf], [0.0, -0.0]]))
        if special and dtype.kind != "b":
            hit = rng.random(shape) < draw(st.sampled_from([0.2, 1]))
            x = np.where(hit, rng.choice(special, shape).astype(dtype), x)
    return np.asarray(laid_out(np.asarray(x), draw(st.sampled_from(LAYOUTS))))


def laid_out(x, layout):
    """`x`, or what `layout` makes of it, in memory of that layout."""
    if layout == "F":
        return np.asfortranarray(x)
    if layout == "strided":
        y = np.zeros([2 * n for n in x.shape], x.dtype)[(..., *[slice(None, None, 2)] * x.ndim)]
        y[...] = x
        return y
    if layout == "negative":
        return np.flip(np.flip(x).copy())
    if layout == "broadcast" and x.size and x.ndim:
        return np.broadcast_to(x[:1], x.shape)
    if layout == "swapped" and x.dtype != bfloat16:
        return x.astype(x.dtype.newbyteorder())
    if layout == "unaligned" and x.size:
        y = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
        y[...] = x
        return y
    if layout == "read-only":
        x.flags.writeable = False
    return x


@st.composite
def calls(draw, dtypes):
    """(name, array, options, kind of out)"""
    name = draw(st.sampled_from(NAMES))
    x = draw(arrays(name, dtypes))
    known, options = inspect.signature(getattr(tersor, name)).parameters, {}
    axes = [*range(-x.ndim, x.ndim), (), tuple(range(x.ndim)), (-1,), (1, -3)]

    def option(key, values, often=3):
        if key in known and draw(st.integers(0, 9)) < often:
            options[key] = draw(st.sampled_from(values))

    option("axis", axes, 7)
    option("axis", BAD_AXES, 1)
    option("keepdims", [True, False, 1, None, "x"])
    option("dtype", ["f2", "f4", "f8", ">f8", "g", "i8", "u1", "?", "F", "O", "x"])
    option("initial", [0, 2.5, np.nan, None])
    mask = np.asarray(np.arange(x.size).reshape(x.shape) % 3 > 0)
    option("where", [True, False, mask, mask[-1:] if x.ndim else True, mask.astype(float)])
    option("ddof", [0, 1, 0.5, -1, 100, None, "a"])
    option("correction", [0, 1, 2.5, 100])
    option("ord", [None, 0, 1, 2, 3, -1, -2, 0.5, np.inf, -np.inf, "fro", "nuc", "x"])
    if name == "average":
        option("returned", [True])
    has_out = "out" in known and x.dtype != bfloat16 and draw(st.integers(0, 9)) < 3
    return name, x, options, draw(st.sampled_from(OUTS)) if has_out else None


def outcome(function, *args, **options):
    """As in `numpys`; NumPy says "scalar divide" where it has no array."""
    result, caught = numpys_outcome(function, *args, **options)
    return result, {text.replace("scalar ", "").rstrip(".") for text in caught}


def numpys(name, x, options):
    """NumPy's outcome; of bfloat16, whose NaN it takes for numbers, that of float32."""
    function = np.linalg.norm if name == "norm" else getattr(np, name)
    if x.dtype != bfloat16 or name == "norm":
        return outcome(function, x, **options)
    want, _ = outcome(function, x.astype(np.float32), **options)
    if "dtype" in options or isinstance(want, Exception):
        return want, None
    if isinstance(want, tuple):
        return tuple(map(narrow, want)), None
    return narrow(want), None


def narrow(result):
    return result.astype(bfloat16) if result.dtype == np.float32 else result


def out_like(result, kind):
    """An array for `out`: one that fits the result, or not."""
    if not hasattr(result, "dtype"):
        result = np.zeros(2)
    out = np.zeros(result.shape, result.dtype)
    if kind == "shape":
        return np.zeros((3, *out.shape), out.dtype)
    if kind in ("read-only", "strided", "swapped"):
        return laid_out(out, kind)
    if kind == "list":
        return [0]
    return out if kind == "right" else np.zeros(out.shape, kind)


def assert_same(got, want, name, x):
    """The same type, dtype, shape and values, to the accuracy that NumPy has."""
    assert type(got) is type(want), (got, want)
    if isinstance(want, tuple):
        for one, other in zip(got, want, strict=True):
            assert_same(one, other, name, x)
        return
    dtype = getattr(want, "dtype", None)
    if dtype is None or dtype.kind == "O":
        assert str(got) == str(want)
        return
    assert (got.dtype, got.shape) == (dtype, want.shape)
    if got.dtype == bfloat16:
        got, want = np.asarray(got, np.float32), np.asarray(want, np.float32)
    if name not in ROUNDED or dtype.kind not in "fc":
        np.testing.assert_array_equal(got, want)
        return
    size = min(dtype.itemsize, x.dtype.itemsize if x.dtype.kind in "fcV" else 8)
    size //= 1 + (dtype.kind == "c")
    tolerance = {1: 3e-3, 2: 3e-3, 4: 1e-6}.get(size, 1e-12)
    tolerance = 3e-2 if x.dtype == bfloat16 or dtype == bfloat16 else tolerance
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


def check(name, x, options, kind_of_out, backend):
    function, before = getattr(tersor, name), x.tobytes()
    theirs, ours = dict(options), dict(options)
    if kind_of_out is not None:
        fitting, _ = numpys(name, x, options)
        theirs["out"], ours["out"] = (out_like(fitting, kind_of_out) for _ in range(2))
    want, want_warnings = numpys(name, x, theirs)
    got, got_warnings = outcome(function, x, **ours, backend=backend)
    assert x.tobytes() == before
    if isinstance(want, Exception):
        assert type(got) is type(want) and str(got) == str(want)
        return
    assert not isinstance(got, Exception), got
    assert_same(got, want, name, x)
    assert want_warnings is None or got_warnings == want_warnings
    if kind_of_out is not None:
        assert (got is ours["out"]) == (want is theirs["out"])
        assert_same(ours["out"], theirs["out"], name, x)


@settings(max_examples=2000, deadline=None, derandomize=True)
@given(calls(COMPILED + OTHER_DTYPES))
def test_any_call_is_numpys(call):
    check(*call, None)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@settings(max_examples=2000, deadline=None, derandomize=True)
@given(call=calls(COMPILED))
def test_any_call_on_a_backend_is_numpys(backend, call):
    check(*call, backend)


@pytest.mark.full
@settings(max_examples=20_000, deadline=None)
@given(calls(COMPILED + OTHER_DTYPES), st.sampled_from([None, "cpu", "reference"]))
def test_any_call_of_many_is_numpys(call, backend):
    check(*call, backend)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"count_nonzero", "average", "norm"}))
@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.float64, bfloat16])
def test_out_may_be_memory_of_the_array(name, dtype, backend):
    function, axis = getattr(tersor, name), None if name in SCANS else 1
    x = (np.arange(96).reshape(8, 12) % 7 - 3).astype(dtype)
    want = function(x, axis=axis, backend=backend)
    out = x.reshape(-1).view(want.dtype)[: want.size]
    assert function(x, axis=axis, out=out, backend=backend) is out
    assert_identical(out, want)


@pytest.mark.parametrize("name", [name for name in NAMES if "nan" in name])
@pytest.mark.parametrize("size", [6, 30_000])
@pytest.mark.parametrize("options", [{}, {"where": True}, {"dtype": np.float16}])
def test_nan_of_bfloat16_is_skipped_at_every_size(name, size, options):
    if not options.keys() <= inspect.signature(getattr(np, name)).parameters.keys():
        return
    x = np.tile([1, np.nan, -1, 1, np.nan, 1], size // 6).astype(bfloat16)
    check(name, x, options, None, None)
