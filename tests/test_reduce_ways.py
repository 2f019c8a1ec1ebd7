"""The ways that a reduction can take through memory, and the short one of small arrays."""

from itertools import permutations

import numpy as np
import pytest
from ml_dtypes import bfloat16
from numpys import NAMES, PLACES, assert_numpys, outcome

import tersor
from tersor.testing import assert_identical, hostile

EMULATED = {"name": ["sum", "argmin"], "dtype": [np.int8, np.float64], "rows": [8], "kind": ["nan"]}


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("kind", ["normal", "ties", "nan", "specials", "zeros"])
def test_places_in_arrays_of_another_order_in_memory(name, kind, backend):
    x = hostile(kind, (70, 5, 90))
    with np.errstate(all="ignore"):
        for order in permutations(range(3)):
            assert_numpys(name, x.transpose(order), backend)
            assert_numpys(name, x.transpose(order)[::-1, :, ::2], backend)
        assert_numpys(name, x.reshape(-1)[::-3], backend)


@pytest.mark.parametrize("name", ["sum", "max", "min", "any", "all", "count_nonzero"])
@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint8, np.uint16, np.int32])
def test_long_runs_of_integers(name, dtype, backend):
    dtype = np.dtype(dtype)
    least, most = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    for value in (least, most):
        x = np.full(4 * 32768 + 76, value, dtype)
        for y in (x, x.reshape(-1, 3), np.stack([x, x])[:, 1:]):
            assert_numpys(name, y, backend)
            assert_numpys(name, y, backend, axis=1 if y.ndim > 1 else 0)
        x[-1] = 2 if dtype.kind != "b" else 1
        assert_numpys(name, x, backend)


@pytest.mark.parametrize("name", ["sum", "max", "argmin", "all", "count_nonzero"])
@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.float64])
@pytest.mark.parametrize("rows", [3, 8, 65, 130])
def test_rows_of_elements_that_are_apart(name, dtype, rows, backend):
    x = hostile("normal", (rows, 3000), dtype)
    for y in (x[:, ::2], x[:, ::-1], x[:, 100:2200:3], x[::-1, ::-2]):
        assert_numpys(name, y, backend, axis=0)


class TestShortWays:
    """Small contiguous arrays: the same as by the way that all others take, and as NumPy's."""

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("kind", ["normal", "ties", "nan", "inf", "specials", "zeros"])
    @pytest.mark.parametrize("shape", [(), (1,), (7,), (1500,), (5, 9), (2, 3, 4), (0, 3)])
    def test_answers(self, name, kind, shape):
        function = getattr(tersor, name)
        for dtype in (np.float16, np.float32, np.float64, np.int8, np.uint64, np.bool_):
            x = hostile(kind, shape, dtype)
            for arguments in ((), *[(axis,) for axis in range(-1, len(shape) + 1)]):
                if name == "norm" and arguments:
                    continue
                for options in ({}, {"axis": 0}, {"axis": True}) if not arguments else ({},):
                    with np.errstate(all="ignore"):
                        got, got_warnings = outcome(function, x, *arguments, **options)
                        want, want_warnings = outcome(
                            function.__wrapped__, x, *arguments, **options
                        )
                    assert got_warnings == want_warnings
                    if isinstance(want, Exception):
                        assert type(got) is type(want) and str(got) == str(want)
                    else:
                        assert type(got) is type(want)
                        assert_identical(got, want)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # casts of NaN, and where there is only NaN
@pytest.mark.parametrize("name", ["max", "nanmin", "argmax", "argmin", "count_nonzero", "any"])
@pytest.mark.parametrize("dtype", [np.float16, bfloat16])
def test_every_half(name, dtype):
    function, halves = getattr(tersor, name), np.arange(2**16, dtype=np.uint16).view(dtype)
    wide = halves.astype(np.float32)
    for x in (halves[wide == wide].reshape(-1, 2), halves.reshape(256, -1)):
        for y in (x, x.T, x[::-1, ::-1], x[::2]):
            for axis in (None, 0, 1):
                want = np.asarray(function(y.astype(np.float32), axis=axis, backend="reference"))
                got = np.asarray(function(y, axis=axis, backend="cpu"))
                np.testing.assert_array_equal(got.astype(want.dtype), want)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("ptp", "norm")])
def test_bools_of_other_bytes(name, backend):
    if backend == "cuda":
        pytest.skip("CuPy, too, takes the bytes of bools for 0 and 1")
    rng = np.random.default_rng(0)
    odd = rng.choice(np.array([0, 1, 2, 128, 255], np.uint8), (300, 40)).view(bool)
    for x in (odd, odd.T, odd[:, ::-2], odd.reshape(-1)):
        for axis in (None, 0):
            assert_numpys(name, x, backend, axis=axis)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", [None, 1])
def test_norms_warn_of_overflow(dtype, order, backend):
    x = np.full(50_000, np.finfo(dtype).max, dtype)
    if backend == "cuda":  # which warns of nothing; the emulated one of a cast
        with np.errstate(over="ignore"):
            assert np.isinf(tersor.norm(x, order, backend=backend))
        return
    with pytest.warns(RuntimeWarning, match="overflow encountered"):
        assert np.isinf(tersor.norm(x, order, backend=backend))
