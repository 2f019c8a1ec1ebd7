import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16

import tersor
from tersor.testing import (
    KINDS,
    SPECIAL_KINDS,
    assert_identical,
    assert_within_ulp,
    hostile,
    layouts,
    unchanged,
)

DTYPES = [
    bool,
    np.int8,
    np.uint8,
    np.int32,
    np.int64,
    np.uint64,
    np.float16,
    np.float32,
    np.float64,
]
FLOATS = [np.float16, np.float32, np.float64]
SUMS = ("sum", "mean", "var", "std", "nansum", "nanmean", "nanvar", "nanstd")
EXACT = ("max", "min", "amax", "amin", "ptp", "nanmax", "nanmin", "count_nonzero")
PLACES = ("argmax", "argmin", "nanargmax", "nanargmin")
OTHERS = ("prod", "any", "all", "nanprod", "average")
RUNNING = ("cumsum", "cumprod", "nancumsum", "nancumprod")
SHAPES = [(1,), (1000,), (3, 5), (513, 3), (2, 4099), (5, 7, 11), (2, 3, 1030)]


def outcome(function, *args, **kwargs):
    """Result, or exception type, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            result = error
    return result, sorted({str(w.message) for w in caught})


def assert_numpys(name, x, backend=None, **options):
    """The same type, dtype, shape, values, errors and warnings as NumPy's function."""
    got, got_warnings = outcome(getattr(tersor, name), x, backend=backend, **options)
    want, want_warnings = outcome(getattr(np, name), x, **options)
    if isinstance(want, Exception):
        assert type(got) is type(want) and str(got) == str(want)
        return
    assert not isinstance(got, Exception), got
    assert (type(got), got.dtype, got.shape) == (type(want), want.dtype, want.shape)
    if name in SUMS:
        wide, _ = outcome(getattr(np, name), x.astype(np.float64), **options)
        tolerance = {2: 1e-3, 4: 1.2e-7}.get(got.dtype.itemsize, 1e-12)
        size = np.abs(x[np.isfinite(x)].astype(np.float64)).max(initial=0)
        floor = {"var": 2, "std": 1}.get(name.removeprefix("nan"), 1)
        np.testing.assert_allclose(
            np.asarray(got, np.float64),
            np.asarray(wide, np.float64).astype(got.dtype).astype(np.float64),
            rtol=tolerance,
            atol=1e-13 * x.size * size**floor,
        )
    else:
        assert_identical(got, want)
        assert got_warnings == want_warnings


@pytest.mark.parametrize("name", [*SUMS, *EXACT, *PLACES])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_axis_is_numpys(name, dtype, shape, backend):
    x = hostile("normal", shape, dtype)
    if dtype is np.int64 or dtype is np.uint64:
        x = x // 2**20  # NumPy's float64 sums of whole int64 are not exact, ours are
    for axis in (None, *range(-len(shape), len(shape))):
        for keepdims in (False, True):
            if "nan" not in name or x.dtype.kind == "f":
                assert_numpys(name, x, backend, axis=axis, keepdims=keepdims)


@pytest.mark.parametrize("name", [*EXACT, *PLACES])
@pytest.mark.parametrize("kind", [k for k in KINDS + SPECIAL_KINDS if k != "zeros"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_inputs_that_hurt_are_numpys(name, kind, dtype, backend):
    x = hostile(kind, (67, 41), dtype)
    with np.errstate(all="ignore"):
        for axis in (None, 0, 1):
            assert_numpys(name, x, backend, axis=axis)


@pytest.mark.parametrize("name", PLACES)
def test_of_zeros_the_first_wins_whatever_its_sign(name, backend):
    assert_numpys(name, hostile("zeros", (60, 50)), backend, axis=0)


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("kind", ["inf", "nan", "specials"])
def test_sums_of_nan_and_inf(name, kind, backend):
    x = hostile(kind, (67, 41), np.float64)
    with np.errstate(all="ignore"):
        for axis in (None, 0, 1):
            got = getattr(tersor, name)(x, axis=axis, backend=backend)
            want = getattr(np, name)(x, axis=axis)
            np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("name", [n for n in (*SUMS, *EXACT, *PLACES) if n.startswith("nan")])
def test_slices_of_nan_alone_warn_or_raise_as_numpys(name, backend):
    x = hostile("nan", (30, 20))
    x[:, 3] = np.nan
    got, got_warnings = outcome(getattr(tersor, name), x, axis=0, backend=backend)
    want, want_warnings = outcome(getattr(np, name), x, axis=0)
    assert got_warnings == want_warnings
    if isinstance(want, Exception):
        assert type(got) is type(want) and str(got) == str(want)
    else:
        np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("name", [*SUMS, *EXACT, *PLACES])
def test_layouts_and_thread_counts_give_the_same_bits(name, threads):
    x = hostile("normal", (331, 257))
    function = getattr(tersor, name)
    for axis in (None, 0, 1):
        with tersor.num_threads(1):
            want = function(x, axis=axis)
        for layout, view in layouts(x):
            with unchanged(view):
                assert_identical(function(view, axis=axis), want), layout


@pytest.mark.parametrize("name", [*OTHERS, *RUNNING])
@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.float64])
def test_what_goes_to_numpy_is_numpys(name, dtype):
    x = hostile("normal", (40, 30), dtype)
    for axis in (None, 0, 1):
        with np.errstate(all="ignore"):
            got = getattr(tersor, name)(x, axis=axis)
            want = getattr(np, name)(x, axis=axis)
        assert type(got) is type(want) and got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"where": np.arange(300) % 3 > 0},
        {"initial": 5.0},
        {"dtype": np.float64},
        {"axis": (0, 1)},
        {"axis": ()},
        {"axis": (0, 0)},
        {"axis": 2},
        {"axis": 1.5},
        {"out": np.zeros(300, np.float32), "axis": 0},
        {"out": np.zeros(7), "axis": 0},
        {"keepdims": 1},
    ],
)
def test_options_are_numpys(options):
    x = np.round(hostile("normal", (200, 300)) * 8)  # sums are exact
    got, got_warnings = outcome(tersor.sum, x, **options)
    want, want_warnings = outcome(np.sum, x, **options)
    assert got_warnings == want_warnings
    if isinstance(want, Exception):
        assert type(got) is type(want) and str(got) == str(want)
    else:
        assert_identical(got, want)
        assert ("out" in options) == (got is options.get("out"))


@pytest.mark.parametrize(
    "a",
    [
        np.arange(12).reshape(3, 4).astype(object),
        np.arange(40000).astype("m8[s]"),
        np.ma.masked_less(np.arange(40000.0), 100),
        np.arange(40000.0).astype(">f8"),
        np.arange(40000) * (1 + 2j),
        np.zeros((0, 3)),
        np.float32(3).reshape(()),
        [[1, 2], [3, 4]],
        7,
    ],
    ids=lambda a: type(a).__name__,
)
@pytest.mark.parametrize("name", ["sum", "mean", "max", "argmax", "count_nonzero"])
def test_what_kernels_do_not_cover_is_numpys_own(name, a):
    got, got_warnings = outcome(getattr(tersor, name), a)
    want, want_warnings = outcome(getattr(np, name), a)
    assert type(got) is type(want) and got_warnings == want_warnings
    if not isinstance(want, Exception):
        np.testing.assert_array_equal(got, want)


class TestFloat32IsSummedInFloat64:
    def test_ones(self):
        assert tersor.sum(np.ones(2**25, np.float32)) == 2**25
        assert_identical(
            tersor.sum(np.ones((2**24 + 8, 2), np.float32), axis=0),
            np.full(2, 2**24 + 8, np.float32),
        )

    @pytest.mark.parametrize("axis", [None, 0, 1])
    @pytest.mark.parametrize("dtype", [np.float16, bfloat16, np.float32])
    def test_sum_mean_std_norm(self, axis, dtype, backend):
        x = (hostile("normal", (900, 800)) + 1).astype(dtype)
        wide = x.astype(np.float64)
        for name in ("sum", "mean", "std", "norm"):
            function = np.linalg.norm if name == "norm" else getattr(np, name)
            got = getattr(tersor, name)(x, axis=axis, backend=backend)
            assert got.dtype == x.dtype
            assert_within_ulp(got, function(wide, axis=axis), 0.51)

    def test_cumsum(self):
        x = hostile("normal", 100_000) + 1
        assert_within_ulp(tersor.cumsum(x), np.cumsum(x.astype(np.float64)), 0.51)


@pytest.mark.parametrize("ord", [None, 2, 1, np.inf, "fro", "nuc"])
@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1)])
def test_norms_are_numpys(ord, axis):
    x = hostile("normal", (30, 20), np.float64)
    got, _ = outcome(tersor.norm, x, ord, axis)
    want, _ = outcome(np.linalg.norm, x, ord, axis)
    if isinstance(want, Exception):
        assert type(got) is type(want) and str(got) == str(want)
    else:
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_logsumexp_is_scipys():
    from scipy.special import logsumexp

    x = hostile("specials", (30, 20), np.float64)
    with np.errstate(all="ignore"):
        for options in ({}, {"axis": 0, "keepdims": True}, {"axis": 1, "return_sign": True}):
            for got, want in zip(
                np.atleast_1d(tersor.logsumexp(x, **options)),
                np.atleast_1d(logsumexp(x, **options)),
                strict=True,
            ):
                np.testing.assert_array_equal(got, want)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    dtype=st.sampled_from([np.int8, np.int32, np.float16, np.float32, np.float64]),
    name=st.sampled_from([*EXACT, "argmax", "argmin", "sum", "mean", "var"]),
    data=st.data(),
)
def test_any_shape_is_numpys(shape, dtype, name, data):
    x = hostile("ties", tuple(shape), dtype)
    axis = data.draw(st.sampled_from([None, *range(len(shape))]))
    order = data.draw(st.permutations(range(len(shape))))
    assert_numpys(name, x.transpose(order), "cpu", axis=axis)


def test_small_inputs_are_numpys_bits():
    x = hostile("normal", 100)
    assert_identical(tersor.sum(x), np.sum(x))
