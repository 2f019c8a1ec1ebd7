"""The elementary functions that kernels inline, on floats of every exponent."""

import numpy as np
import pytest

from tersor.testing import KINDS, SPECIAL_KINDS, assert_within_ulp, hostile
from tersor_kernels._jit import njit
from tersor_kernels.cpu import _math


@njit
def _exp(x, out):
    for i in range(x.size):
        out[i] = _math.exp(x[i])


@njit
def _log(x, out):
    for i in range(x.size):
        out[i] = _math.log(x[i])


@njit(fastmath={"reassoc", "contract", "nsz"})  # whatever its caller allows
def _exp_difference(x, m, out):
    for i in range(x.size):
        out[i] = _math.exp_difference(x[i], m[i])


@njit(fastmath={"reassoc", "contract", "nsz"})
def _two_sum(a, b, s, e):
    for i in range(a.size):
        s[i], e[i] = _math.two_sum(a[i], b[i])


@njit
def _row_max(x):
    return _math.row_max(x)


def every_exponent():
    """float32: 2048 mantissas of each exponent and sign, the ends among them; inf and NaN."""
    mantissas = np.linspace(0, 2**23 - 1, 2048).astype(np.uint32)
    mantissas[1:-1] += np.random.default_rng(0).integers(0, 2**11, 2046, np.uint32)
    tops = np.arange(512, dtype=np.uint32)[:, None] << np.uint32(23)  # sign and exponent
    return (tops + mantissas).view(np.float32).reshape(-1)


def call(function, *args):
    out = np.empty_like(args[0])
    function(*args, out)
    return out


@pytest.mark.parametrize("function, exact, ulp", [(_exp, np.exp, 1.1), (_log, np.log, 1)])
def test_float32_of_every_exponent(function, exact, ulp):
    x = every_exponent()
    with np.errstate(all="ignore"):  # signaling NaNs too
        want = exact(x.astype(np.float64))
        assert_within_ulp(call(function, x), want, ulp)


def test_exp_where_it_matters():
    """Dense in the range of finite results, down to the last denormal."""
    x = np.linspace(-104.5, 89, 2_000_000, dtype=np.float32)
    with np.errstate(over="ignore"):
        assert_within_ulp(call(_exp, x), np.exp(x.astype(np.float64)), 1.1)


def test_log_beside_one():
    """Where x - 1 has few bits: the result stays relatively exact."""
    x = 1 + np.arange(-300_000, 300_000, dtype=np.float32) * np.float32(2.0**-24)
    assert_within_ulp(call(_log, x), np.log(x.astype(np.float64)), 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(dtype):
    tiny, largest = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    x = np.array([0, -0.0, np.inf, -np.inf, np.nan, tiny, -tiny, largest, -largest, 1], dtype)
    inf, nan = np.inf, np.nan
    got = call(_exp, x)
    assert_within_ulp(got, [1, 1, inf, 0, nan, 1, 1, inf, 0, np.e], 1.1)
    got = call(_log, x)
    logs = np.log(np.array([tiny, largest], np.float64))
    want = [-inf, -inf, inf, nan, nan, logs[0], nan, logs[1], nan, 0]
    assert_within_ulp(got, want, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("m", [0.0, 1.7, -300.3, 1e4, 16777215.0])
def test_exp_difference(dtype, m):
    """2 ulp, where exp(x - m) alone is off by tens of ulp when x - m is -80."""
    m = dtype(m)
    x = (m - np.random.default_rng(0).uniform(0, 86, 50_000)).astype(dtype)
    x = x[x <= m]
    want = np.exp(x.astype(np.longdouble) - np.longdouble(m))
    assert_within_ulp(call(_exp_difference, x, np.full_like(x, m)), want, 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_difference_of_special_values(dtype):
    inf, nan = np.inf, np.nan
    x = np.array([-inf, inf, nan, 0, -inf, 3, 3, -0.0], dtype)
    m = np.array([0, 0, 0, nan, -inf, inf, 3, 0.0], dtype)
    np.testing.assert_array_equal(
        call(_exp_difference, x, m), np.array([0, inf, nan, nan, nan, 0, 1, 1], dtype)
    )


def test_two_sum_is_exact():
    a, b = hostile("normal", (2, 10_000), np.float32) * np.float32([[1], [1e-3]])
    a[:100] = 1e8
    s, e = np.empty_like(a), np.empty_like(a)
    _two_sum(a, b, s, e)
    np.testing.assert_array_equal(s, a + b)
    np.testing.assert_array_equal(
        s.astype(np.float64) + e, a.astype(np.float64) + b.astype(np.float64)
    )
    assert (e != 0).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [k for k in KINDS + SPECIAL_KINDS if k not in ("nan", "specials")])
def test_row_max(kind, dtype):
    for n in (1, 2, 15, 16, 17, 1000):
        x = hostile(kind, n, dtype)
        for row in (x, -x, x[::-1].copy()):
            assert _row_max(row) == row.max()
    assert _row_max(x[:0]) == -np.inf
