import numpy as np
import pytest
import scipy.special
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

FLOATS = [np.float16, bfloat16, np.float32, np.float64]
SHAPES = [(1, 1), (3, 5), (2, 1023), (2, 1024), (2, 1025), (16385, 1), (17, 1031)]
SOFTMAX = [(tersor.softmax, scipy.special.softmax), (tersor.log_softmax, scipy.special.log_softmax)]
softmax_and_log = pytest.mark.parametrize("function, scipy_function", SOFTMAX)


def exactly(scipy_function, x, axis):
    with np.errstate(all="ignore"):
        return scipy_function(x.astype(np.longdouble), axis=axis)


def bound(function):
    """The documented one, as (ulp, floor)."""
    return (4, 1.0) if function is tersor.log_softmax else (4, 0.0)


@softmax_and_log
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", [k for k in KINDS + SPECIAL_KINDS if k != "extremes"])
@pytest.mark.parametrize("shape", SHAPES)
def test_softmax_is_scipys(function, scipy_function, backend, kind, shape, dtype):
    x = hostile(kind, shape, dtype)
    got = function(x, axis=1, backend=backend)
    assert got.dtype == x.dtype
    assert_within_ulp(got, exactly(scipy_function, x, 1), *bound(function))


@softmax_and_log
@pytest.mark.parametrize("axis", [None, 0, 1, 2, -1, -3])
def test_softmax_axis_and_layout(function, scipy_function, backend, axis):
    x = hostile("normal", (3, 4, 5))
    want = function(x, axis=axis, backend=backend)
    assert_within_ulp(want, exactly(scipy_function, x, axis), *bound(function))
    for name, view in layouts(x):
        with unchanged(view):
            assert_identical(function(view, axis=axis, backend=backend), want), name


@softmax_and_log
def test_softmax_same_bits_for_any_thread_count(function, scipy_function, threads):
    x = hostile("normal", (64, 3000))
    got = function(x, axis=1)
    with tersor.num_threads(1):
        assert_identical(got, function(x, axis=1))


@softmax_and_log
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [100, 1000, 100_000])
def test_softmax_accuracy_of_sorted_and_spread_rows(function, scipy_function, backend, n, dtype):
    x = 10 * hostile("normal", (20_000 // n + 1, n), dtype)
    for rows in (x, np.sort(x), np.sort(x)[:, ::-1]):
        got = function(rows, axis=1, backend=backend)
        assert_within_ulp(got, exactly(scipy_function, rows, 1), *bound(function))
