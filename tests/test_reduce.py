import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16
from numpys import DTYPES, EXACT, FLOATS, PLACES, PRODUCTS, RUNNING, SUMS, assert_numpys, outcome
from scipy.special import logsumexp

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

SHAPES = [(1,), (1000,), (3, 5), (513, 3), (2, 4099), (5, 7, 11), (2, 3, 1030)]
# Without these the kernels for the GPU would be compiled and emulated for half an hour.
EMULATED = {
    "dtype": [np.float32],
    "shape": [(513, 3), (2, 4099)],
    "kind": ["ties", "specials"],
    "n": [1, 127, 4097, 66_000],
}


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


@pytest.mark.parametrize("name", [n for n in (*SUMS, *EXACT, *PLACES) if "nan" in n])
def test_slices_of_nan_alone_warn_or_raise_as_numpys(name, backend):
    x = hostile("nan", (30, 20))
    x[:, 3] = np.nan
    got, got_warnings = outcome(getattr(tersor, name), x, axis=0, backend=backend)
    want, want_warnings = outcome(getattr(np, name), x, axis=0)
    assert got_warnings == ([] if backend == "cuda" else want_warnings)
    if isinstance(want, Exception):
        assert type(got) is type(want) and str(got) == str(want)
    else:
        np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("name", [*PRODUCTS, *RUNNING])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_products_and_running_totals(name, dtype, shape, backend):
    x = hostile("normal", shape, dtype)
    for axis in (None, *range(-len(shape), len(shape))):
        with np.errstate(all="ignore"):
            got = getattr(tersor, name)(x, axis=axis, backend=backend)
            want = getattr(np, name)(x, axis=axis)
            wide = getattr(np, name)(x.astype(np.longdouble), axis=axis)
        assert (type(got), got.dtype, got.shape) == (type(want), want.dtype, want.shape)
        if x.dtype.kind != "f":
            assert_identical(got, want)
        else:
            tolerance = {2: 1e-3, 4: 1.2e-7}.get(got.dtype.itemsize, 1e-12)
            size = x.size * np.abs(x).max() if "sum" in name else 0
            least = 4 * np.finfo(got.dtype).smallest_subnormal  # where they underflow
            wide = wide.astype(got.dtype)
            np.testing.assert_allclose(got, wide, rtol=tolerance, atol=1e-13 * size + least)


@pytest.mark.parametrize("name", [*PRODUCTS, *RUNNING])
@pytest.mark.parametrize("kind", [k for k in KINDS + SPECIAL_KINDS if k != "extremes"])
def test_products_and_running_totals_of_what_hurts(name, kind, backend):
    x = hostile(kind, (67, 41), np.float64)
    for axis in (None, 0, 1):
        with np.errstate(all="ignore"):
            got = getattr(tersor, name)(x, axis=axis, backend=backend)
            want = getattr(np, name)(x, axis=axis)
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-10)


def test_a_running_sum_of_what_is_not_negative_never_falls(threads):
    x = np.abs(hostile("normal", (3, 50_000), np.float64))
    assert (np.diff(tersor.cumsum(x, axis=1, backend="cpu"), axis=1) >= 0).all()


@pytest.mark.parametrize("name", [*SUMS, *EXACT, *PLACES, *PRODUCTS, *RUNNING, "norm", "logsumexp"])
def test_layouts_and_thread_counts_give_the_same_bits(name, threads):
    x = hostile("normal", (331, 257))
    function = getattr(tersor, name)
    for axis in (None, 0, 1):
        with tersor.num_threads(1):
            want = function(x, axis=axis)
        for layout, view in layouts(x):
            with unchanged(view):
                assert_identical(function(view, axis=axis), want), layout


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (0, 2), (0, 1, 2), (2, 0), (-1,)])
def test_any_memory_order_gives_the_same_bits(axes, dtype, threads):
    x = hostile("normal", (23, 37, 71), dtype)
    for name in ("sum", "var", "max", "any", "nansum"):
        function = getattr(tersor, name)
        want = function(x, axis=axes, backend="cpu")
        for order in ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
            view = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
            for layout in (view, view[::1, ::-1].copy("K")[::1, ::-1]):
                assert_identical(function(layout, axis=axes, backend="cpu"), want)
        rows = np.repeat(x, 3, axis=1)[:, ::3]
        assert_identical(function(rows, axis=axes, backend="cpu"), want)
        broadcast = np.broadcast_to(x[:, :1], x.shape)
        assert_identical(
            function(broadcast, axis=axes, backend="cpu"),
            function(broadcast.copy(), axis=axes, backend="cpu"),
        )


@pytest.mark.parametrize("name", [*SUMS, *EXACT, *PLACES, *PRODUCTS])
@pytest.mark.parametrize("n", [1, 127, 128, 4095, 4096, 4097, 8192, 66_000])
def test_lengths_around_block_limits(name, n, backend):
    x = np.round(hostile("normal", n, np.float64) * 4)
    if name in PRODUCTS:
        x = np.where(x > 0, 1.0, -1.0)
    x[n // 2 :: 5000] = 8
    got, want = getattr(tersor, name)(x, backend=backend), getattr(np, name)(x)
    if "var" in name or "std" in name:
        np.testing.assert_allclose(got, want, rtol=1e-13)
    else:
        np.testing.assert_allclose(got, want, rtol=1e-15)


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
        if dtype is np.float16 and axis is None:
            x /= 32  # their sum would be no float16
        wide = x.astype(np.float64)
        for name in ("sum", "mean", "std", "norm"):
            function = np.linalg.norm if name == "norm" else getattr(np, name)
            got = getattr(tersor, name)(x, axis=axis, backend=backend)
            if name == "norm" and dtype is bfloat16:
                assert got.dtype == np.float64  # as NumPy's, which BLAS adds up in its own order
                np.testing.assert_allclose(got, function(wide, axis=axis), rtol=1e-14)
            else:
                assert got.dtype == x.dtype
                assert_within_ulp(got, function(wide, axis=axis), 0.51)

    @pytest.mark.parametrize("dtype", [np.float16, bfloat16, np.float32])
    @pytest.mark.parametrize("size", [10, 60_000])
    def test_cumsum(self, dtype, size):
        x = (hostile("normal", size) / 4).astype(dtype)
        wide = np.cumsum(x.astype(np.float64))
        assert_within_ulp(tersor.cumsum(x), wide, 0.51)
        np.testing.assert_array_equal(tersor.cumsum(x.reshape(2, -1)), tersor.cumsum(x))

    @pytest.mark.parametrize("size", [10, 30_000])
    def test_small_and_strided(self, size):
        x = np.tile(np.array([1e8, 1, -1e8, 1], np.float32), size // 4 + 1)[:size]
        want = np.float32(np.sum(x, dtype=np.float64))
        assert tersor.sum(x) == tersor.sum(x[::-1]) == want
        assert tersor.sum(np.stack([x, x], 1), axis=0)[1] == want

    def test_too_large_for_the_dtype_warns_as_numpys(self):
        x = np.full(70_000, 2.0, np.float16)
        with pytest.warns(RuntimeWarning, match="overflow encountered in reduce"):
            assert tersor.sum(x) == np.inf
        with np.errstate(over="ignore"):
            assert tersor.sum(x) == np.inf
        assert tersor.mean(x) == 2 and tersor.var(x) == 0


@pytest.mark.parametrize("ord", [None, 2, 1, 0, 3, -1, -2, np.inf, -np.inf, "fro", "nuc"])
@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1), (1, 0), (-2, -1)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32])
def test_norms_are_numpys(ord, axis, dtype, backend):
    x = hostile("normal", (30, 20), dtype)
    for a in (x, x.ravel(), x.reshape(5, 6, 20)):
        for keepdims in (False, True):
            got, _ = outcome(tersor.norm, a, ord, axis, keepdims, backend=backend)
            want, _ = outcome(np.linalg.norm, a, ord, axis, keepdims)
            if isinstance(want, Exception):
                assert type(got) is type(want) and str(got) == str(want)
            else:
                assert (type(got), got.shape) == (type(want), want.shape)
                assert got.dtype == want.dtype or (ord == 0 and axis is not None)
                tolerance = 1e-12 if want.dtype == np.float64 else 1e-5
                np.testing.assert_allclose(got, want, rtol=tolerance)


@pytest.mark.parametrize("kind", [*KINDS, *SPECIAL_KINDS])
@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1), (2, 0)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logsumexp_is_scipys(kind, axis, dtype, backend):
    x = hostile(kind, (30, 20, 7), dtype)
    with np.errstate(all="ignore"):
        for keepdims in (False, True):
            got = tersor.logsumexp(x, axis, None, keepdims, backend=backend)
            want = logsumexp(x.astype(np.float64), axis, None, keepdims)
            assert got.dtype == dtype and got.shape == want.shape
            tolerance = 1e-14 if dtype is np.float64 else 1.3e-7
            np.testing.assert_allclose(got, want.astype(dtype), rtol=tolerance, atol=tolerance)


def test_logsumexp_keeps_the_digits_of_a_small_remainder(backend):
    x = np.array([0.0, -40.0])
    got = tersor.logsumexp(x, backend=backend)
    np.testing.assert_allclose(got, np.log1p(np.exp(-40.0)), rtol=1e-15)


@pytest.mark.parametrize("options", [{"b": 2.0}, {"return_sign": True}, {"axis": 5}, {"axis": ()}])
def test_other_options_of_logsumexp_are_scipys(options):
    x = hostile("normal", (30, 20), np.float64)
    got, _ = outcome(tersor.logsumexp, x, **options)
    want, _ = outcome(logsumexp, x, **options)
    if isinstance(want, Exception):
        assert type(got) is type(want) and str(got) == str(want)
    else:
        np.testing.assert_allclose(got, want, rtol=1e-14)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    dtype=st.sampled_from([np.int8, np.int32, np.float16, np.float32, np.float64]),
    name=st.sampled_from([*EXACT, *PLACES, *SUMS]),
    data=st.data(),
)
def test_any_shape_is_numpys(shape, dtype, name, data):
    x = hostile("ties", tuple(shape), dtype)
    axes = [None, *range(len(shape))]
    if name not in PLACES:
        axes += [(), *itertools.combinations(range(len(shape)), 2)]
    axis = data.draw(st.sampled_from(axes))
    order = data.draw(st.permutations(range(len(shape))))
    assert_numpys(name, x.transpose(order), "cpu", axis=axis)
