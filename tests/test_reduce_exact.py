"""Sums with exact=True: against math.fsum and fractions, in any order and layout."""

import itertools
import math
import warnings
from contextlib import nullcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16

import tersor
from tersor.testing import assert_identical, layouts, unchanged

FLOATS = [np.dtype(t) for t in (np.float16, bfloat16, np.float32, np.float64)]
# On cuda, the others are long.
EMULATED = {
    "n": [3, 33, 5000, 70_001],
    "spread": [0.03, 0.7, 0.97],
    "dtype": [np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)],
    "padding": [40],
}
TINY, EPS = 2.0**-1074, 2.0**-53
LARGEST = np.finfo(np.float64).max
BITS = {"float16": (11, -24, 16), "bfloat16": (8, -133, 128), "float32": (24, -149, 128)}
BITS["float64"] = (53, -1074, 1024)


def nearest(total, dtype):
    """The number of `dtype` that is nearest to a fraction: found among all, by bisection."""
    if total < 0:
        return -nearest(-total, dtype)
    precision, lowest, end = BITS[dtype.name]

    def number(i):  # the i-th that is not negative, as if exponents had no end
        exponent = max(i >> (precision - 1), 1) - 1
        mantissa = i - (exponent << (precision - 1))
        return Fraction(mantissa) * Fraction(2) ** (exponent + lowest)

    low, high = 0, (end - lowest + 64) << (precision - 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if number(middle) <= total else (low, middle)
    below, above = total - number(low), number(high) - total
    i = low if below < above or (below == above and low % 2 == 0) else high
    return math.inf if number(i) >= Fraction(2) ** end else float(number(i))


def exact(x, axis=None, dtype=None):
    """Exact sums by fractions."""
    dtype = np.dtype(dtype or x.dtype)
    axes = range(x.ndim) if axis is None else np.atleast_1d(axis)
    axes = sorted(i % x.ndim for i in axes)
    moved = np.moveaxis(x.astype(np.float64), axes, range(len(axes)))
    shape = moved.shape[len(axes) :]
    columns = moved.reshape(-1, math.prod(shape)).T.tolist()
    sums = [nearest(sum(map(Fraction, column)), dtype) for column in columns]
    with np.errstate(over="ignore"):
        return np.array(sums).reshape(shape).astype(dtype)[()]


def wide(shape, dtype=np.float64, spread=1.0, seed=0):
    """Numbers of both signs with exponents over `spread` of all there are."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    _, lowest, end = BITS[dtype.name]
    middle, half = (lowest + end) / 2, (end - lowest) / 2 - 2
    exponents = middle + spread * half * rng.uniform(-1, 1, shape)
    x = np.ldexp(
        rng.choice([-1.0, 1.0], shape) * rng.uniform(1, 2, shape), exponents.astype(int) - 1
    )
    return x.astype(dtype)


def adversarial(n, seed=0):
    """n float64 that cancel to nearly nothing."""
    x = wide(n // 2, spread=0.5, seed=seed)
    x = np.concatenate([x, -x, [1.0, EPS, TINY][: n % 2]])
    return np.random.default_rng(seed).permutation(x)


def test_the_check_rounds():
    """Python's own float(Fraction) and int / int are correctly rounded too."""
    for i in range(200):
        a, b = wide(2, seed=i, spread=0.9).tolist()
        assert nearest(Fraction(a), np.dtype(np.float64)) == a
        total = Fraction(a) + Fraction(b) / 3
        assert nearest(total, np.dtype(np.float64)) == float(total)
    single = np.dtype(np.float32)
    assert nearest(Fraction(1 + 2.0**-24), single) == 1
    assert nearest(Fraction(1 + 2.0**-24 + 2.0**-50), single) == 1 + 2.0**-23
    assert nearest(Fraction(2) ** 128 - Fraction(2) ** 103, single) == math.inf
    assert nearest(Fraction(2) ** 128 - Fraction(2) ** 103 - 1, single) < 2.0**128
    assert nearest(Fraction(2) ** -150, single) == 0


@pytest.mark.parametrize("n", [1, 2, 3, 33, 100, 1000, 4095, 4096, 4097, 70_001])
@pytest.mark.parametrize("spread", [0.005, 0.03, 0.1, 0.97])
def test_float64_is_fsum(n, spread):
    x = wide(n, spread=spread)
    assert tersor.sum(x, exact=True) == math.fsum(x)
    x = adversarial(n)
    assert tersor.sum(x, exact=True) == math.fsum(x)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("spread", [0.03, 0.3, 0.7])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((5,), None),
        ((4099,), 0),
        ((70, 7), 1),
        ((50, 600), 1),
        ((33, 40), 0),
        ((600, 3), 0),
        ((2100, 17), 0),
        ((4, 5, 6), (0, 2)),
        ((4, 5, 6), (-1, 1)),
        ((40, 20), None),
    ],
)
def test_matches_fractions(dtype, spread, shape, axis, backend):
    x = wide(shape, dtype, spread)
    if backend == "reference" and x.size > 5000:
        x = x[:50]
    with unchanged(x):
        got = tersor.sum(x, axis=axis, exact=True, backend=backend)
    assert_identical(got, exact(x, axis))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("shape", [(60, 50), (5000, 3), (4, 700), (3, 5, 7)])
def test_layouts(dtype, shape):
    x = wide(shape, dtype, 0.3)
    for axis in (None, 0, 1, (0, 1)):
        want = exact(x, axis)
        for name, y in layouts(x):
            assert_identical(tersor.sum(y, axis=axis, exact=True), want), name


def test_axes_that_are_no_two_ranges_in_memory():
    x = wide((9, 8, 7, 6, 5), spread=0.5)[::2, 1:, ::3, ::-1, 1:4]
    for axes in itertools.combinations(range(5), 3):
        assert_identical(tersor.sum(x, axis=axes, exact=True), exact(x, axes))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threads_order_and_axis_do_not_matter(threads, dtype):
    x = wide(300_007, dtype, 0.2)
    want = np.dtype(dtype).type(nearest(sum(map(Fraction, x.tolist())), np.dtype(dtype)))
    assert_identical(tersor.sum(x, exact=True), want)
    assert_identical(tersor.sum(x[::-1], exact=True), want)
    x.sort()
    assert_identical(tersor.sum(x, exact=True), want)
    x = np.random.default_rng(1).permutation(x)[:300_000]
    columns = x.reshape(-1, 40)
    sums = tersor.sum(columns, axis=0, exact=True)
    assert_identical(tersor.sum(np.asfortranarray(columns), axis=0, exact=True), sums)
    assert_identical(tersor.sum(np.ascontiguousarray(columns.T), axis=1, exact=True), sums)
    tall = x.reshape(-1, 3)
    assert_identical(
        tersor.sum(tall, axis=0, exact=True),
        np.array([tersor.sum(column, exact=True) for column in tall.T]),
    )


TIES = [
    ([1.0, EPS], 1.0),
    ([1.0, EPS, 2.0**-1000], 1 + 2 * EPS),
    ([1.0, EPS, TINY], 1 + 2 * EPS),
    ([1.0, EPS, -TINY], 1.0),
    ([1 + 2 * EPS, EPS], 1 + 4 * EPS),
    ([1 + 2 * EPS, EPS, -TINY], 1 + 2 * EPS),
    ([-1.0, -EPS, -TINY], -1 - 2 * EPS),
    ([1.0, -EPS / 2], 1.0),
    ([1.0, -EPS / 2, -TINY], 1 - EPS),
    ([2.0 - 2 * EPS, EPS], 2.0),
    ([LARGEST, LARGEST, -LARGEST], LARGEST),
    ([LARGEST, 2.0**970, -TINY], LARGEST),
    ([LARGEST, 2.0**970], math.inf),
    ([-LARGEST, -LARGEST], -math.inf),
    ([1e308, 1e308, -1e308], 1e308),
    ([1e16, 1.0, -1e16], 1.0),
    ([TINY, TINY], 2 * TINY),
    ([TINY, -TINY], 0.0),
    ([2.0**-1022, -TINY], 2.0**-1022 - TINY),
    ([TINY, 1e308, -1e308], TINY),
]


@pytest.mark.parametrize("padding", [0, 40, 5000])
@pytest.mark.parametrize(("numbers", "want"), TIES)
def test_ties_cancellation_and_denormals(numbers, want, padding, backend):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for order in itertools.permutations(numbers):
            x = np.array([*order[:-1], *[0.0] * padding, order[-1]])
            assert_identical(tersor.sum(x, exact=True, backend=backend), np.float64(want))
            if padding == 40:
                columns = np.repeat(x[:, None], 20, 1)
                got = tersor.sum(columns, axis=0, exact=True, backend=backend)
                assert_identical(got, np.full(20, want))


def test_float32_is_rounded_once(backend):
    # float64 would round away what decides a tie of float32.
    x = np.array([1, 2.0**-24, 2.0**-60, 2.0**-140], np.float32)
    for numbers, want in [(x[:2], 1), (x[:3], 1 + 2.0**-23), (x[[0, 1, 3]], 1 + 2.0**-23)]:
        for padding in (0, 40, 5000):
            padded = np.concatenate([numbers, np.zeros(padding, np.float32)])
            got = tersor.sum(padded, exact=True, backend=backend)
            assert_identical(got, np.float32(want))
            assert_identical(tersor.sum(-padded, exact=True, backend=backend), -np.float32(want))
    got = tersor.sum(x, exact=True, dtype=np.float64, backend=backend)
    assert_identical(got, exact(x, dtype="d"))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_many_equal_numbers(dtype):
    for value in (1.0, -3.0, float(np.ldexp(1.0, BITS[dtype.name][1]))):
        x = np.full(2**17 + 3, value).astype(dtype)
        want = nearest(Fraction(value) * x.size, dtype)
        with np.errstate(over="ignore"):
            assert_identical(tersor.sum(x, exact=True), np.array(want).astype(dtype)[()])


def numpys_warning(what, backend):
    """A context that expects NumPy's warning; on a GPU nothing warns."""
    if backend == "cuda":
        return nullcontext()
    return pytest.warns(RuntimeWarning, match=f"{what} encountered in reduce")


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("n", [3, 40, 5000])
def test_overflow_warns_once_the_result_does(dtype, n, backend):
    precision, _, end = BITS[dtype.name]
    largest = float(Fraction(2) ** end - Fraction(2) ** (end - precision))
    x = np.zeros(n).astype(dtype)
    x[:3] = [largest, -largest, largest]
    assert tersor.sum(x, exact=True, backend=backend) == largest
    x[1] = largest
    with numpys_warning("overflow", backend):
        assert tersor.sum(-x, exact=True, backend=backend) == -math.inf


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("n", [4, 40, 5000, 200_000])
def test_nan_and_infinities(dtype, n, backend):
    n = min(n, 5000) if backend == "reference" else n  # it adds fractions
    x = np.ones(n).astype(dtype)
    x[n // 2] = np.inf
    assert tersor.sum(x, exact=True, backend=backend) == np.inf
    assert tersor.sum(-x, exact=True, backend=backend) == -np.inf
    x[-1] = -np.inf
    with numpys_warning("invalid value", backend):
        assert np.isnan(tersor.sum(x, exact=True, backend=backend))
    x[0] = np.nan
    assert np.isnan(tersor.sum(x, exact=True, backend=backend))
    columns = np.ones((300, 20)).astype(dtype)
    columns[17, 3], columns[200, 4], columns[9, 5] = np.inf, -np.inf, np.nan
    got = tersor.sum(columns, axis=0, exact=True, backend=backend).astype(np.float64)
    want = np.full(20, exact(columns[:, :1])).astype(np.float64)
    want[3:6] = np.inf, -np.inf, np.nan
    assert_identical(got, want)


def test_zeros_and_nothing(backend):
    for x in (np.zeros(0), -np.zeros(5), -np.zeros(5000), np.array(-0.0), np.zeros((0, 3))):
        got = tersor.sum(x, exact=True, backend=backend)
        assert_identical(got, np.float64(0.0))
        assert not np.signbit(got)
    empty = np.zeros((0, 3), np.float32)
    assert_identical(tersor.sum(empty, axis=0, exact=True), np.zeros(3, np.float32))
    assert_identical(tersor.sum(empty, axis=1, exact=True), np.zeros(0, np.float32))


def test_options(backend):
    x = wide((30, 20), np.float32, 0.1)
    for axis, keepdims, dtype in itertools.product([None, 0, -1, (0, 1), ()], [0, 1], [None, "d"]):
        options = {"axis": axis, "keepdims": keepdims, "dtype": dtype}
        got = tersor.sum(x, **options, exact=True, backend=backend)
        like = np.sum(x, **options)
        assert (type(got), got.dtype, got.shape) == (type(like), like.dtype, like.shape)
        out = np.empty(got.shape, got.dtype)
        assert tersor.sum(x, **options, exact=True, backend=backend, out=out) is out
        assert_identical(out, np.asarray(got))
    assert_identical(tersor.sum(x, 0, exact=True, where=True), exact(x, 0))
    assert_identical(tersor.sum(x.tolist(), exact=True), np.float64(exact(x, dtype="d")))


def test_out_may_be_the_input():
    x = wide((50, 50), spread=0.1)
    want = exact(x, 0)
    tersor.sum(x, axis=0, out=x[7], exact=True)
    assert_identical(x[7].copy(), want)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, np.uint64])
def test_integers_are_exact_anyway(dtype):
    x = np.arange(3000).reshape(30, 100).astype(dtype)
    for axis in (None, 0, 1):
        assert_identical(tersor.sum(x, axis, exact=True), tersor.sum(x, axis))


def test_torch(backend):
    if backend == "cuda":
        pytest.skip("a tensor of the host does not go to the GPU")
    torch = pytest.importorskip("torch")
    x = wide((30, 20), np.float32, 0.3)
    got = tersor.sum(torch.from_numpy(x), 1, exact=True, backend=backend)
    assert isinstance(got, torch.Tensor)
    assert_identical(got.numpy(), exact(x, 1))


@pytest.mark.parametrize(
    ("x", "options", "error", "match"),
    [
        (np.ones(3), {"exact": 1}, TypeError, "exact must be True or False, got 1"),
        (np.ones(3), {"exact": None}, TypeError, "exact must be True or False, got None"),
        (np.ones(3, complex), {}, TypeError, "a must be of float16.*got complex128"),
        (np.ones(3, np.longdouble), {}, TypeError, "a must be of float16.*got"),
        (np.ones(3, object), {}, TypeError, "a must be of float16.*got object"),
        (np.ma.ones(3), {}, TypeError, "a must be a plain array"),
        (np.ones(3), {"dtype": "f"}, TypeError, "dtype must be float64 or a wider float"),
        (np.ones(3), {"dtype": int}, TypeError, "dtype must be float64 or a wider float"),
        (np.ones(3, int), {"dtype": "d"}, TypeError, "dtype must be an integer for int64"),
        (np.ones(3), {"initial": 0}, ValueError, "initial must not be given with exact=True"),
        (np.ones(3), {"where": [True] * 3}, ValueError, "where must not be given with exact=True"),
        (np.ones(3), {"keepdims": "x"}, TypeError, "keepdims must be True or False, got 'x'"),
        (np.ones(3), {"axis": 1}, np.exceptions.AxisError, "axis 1 is out of bounds"),
        (np.ones(3), {"axis": (0, 0)}, ValueError, "repeated axis"),
        (np.ones(3), {"axis": 0.5}, TypeError, "axis must be an int, got 0.5"),
        (np.ones(3), {"out": np.ones(3)}, ValueError, r"out must have shape \(\), got \(3,\)"),
        (np.ones(3), {"out": np.ones((), "f")}, TypeError, "out must have dtype float64"),
    ],
)
def test_errors(x, options, error, match):
    with pytest.raises(error, match=match):
        tersor.sum(x, **{"exact": True, **options})


def numbers(dtype):
    width = 8 * dtype.itemsize
    finite = {"allow_nan": False, "allow_infinity": False, "width": width}
    return st.lists(st.floats(**finite) | st.sampled_from([1.0, -1.0, 2.0**-24]), max_size=60)


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from([FLOATS[0], *FLOATS[2:]]).flatmap(lambda t: st.tuples(st.just(t), numbers(t)))
)
@example((np.dtype("d"), [LARGEST, LARGEST, -LARGEST, TINY]))
def test_any_numbers(case):
    dtype, values = case
    x = np.array(values).astype(dtype)
    want = exact(x) if x.size else dtype.type(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for y in (x, x[::-1], np.repeat(x[:, None], 20, 1), np.repeat(x, 2)[::2]):
            got = np.atleast_1d(tersor.sum(y, axis=0, exact=True))
            assert_identical(got, np.full(got.shape, want))
