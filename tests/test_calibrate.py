import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tersor
from tersor.testing import assert_identical, hostile, layouts, unchanged
from tersor_kernels.cpu import quantize as cpu
from tersor_kernels.reference import quantize as reference

STEM = "quantize"
METHODS = ("absmax", "percentile", "mse", "entropy")
BIN = 2.0**-10  # the widest that a bin of the histogram can be, over the largest magnitude


def state(c):
    """All that a Calibrator says."""
    zero_point = 0 if c.zero_point is None else c.zero_point
    return [*c.range, c.scale, zero_point, c.count, c.nan_count]


def parts_of(x, seed):
    rng = np.random.default_rng(seed)
    x = rng.permutation(x, axis=-1)
    return np.split(x, np.sort(rng.integers(0, x.shape[-1], 4)), axis=-1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"symmetric": False},
        {"axis": 0, "dtype": "uint8", "symmetric": False},
        {"axis": 0, "dtype": "int4"},
    ],
)
def test_order_and_grouping_do_not_matter(method, options):
    x = hostile("normal", (3, 5000)) * np.float32(1e-3)
    x[:, 100:200] *= 1000
    x[:, 7], x[0, 8:1000] = np.nan, 0
    x[1] *= 1e-8
    whole = tersor.Calibrator(method=method, **options).update(x)
    assert whole.count == 15000 and whole.nan_count == 3
    for seed in range(3):
        one_by_one = tersor.Calibrator(method=method, **options)
        merged = tersor.Calibrator(method=method, **options)
        for part in parts_of(x, seed):
            one_by_one.update(part)
            other = tersor.Calibrator(method=method, **options)
            merged = other.update(part).merge(merged)
        for c in (
            one_by_one,
            merged,
            one_by_one.merge(tersor.Calibrator(method=method, **options)),
        ):
            for got, want in zip(state(c), state(whole), strict=True):
                assert_identical(got, want)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(st.floats(-(2.0**1000), 2.0**1000), min_size=1, max_size=5), min_size=1, max_size=5
    ),
    st.randoms(use_true_random=False),
)
def test_histograms_commute_for_every_double(lists, random):
    """From zeros and subnormals to the largest: the bins of one range nest in those of another."""
    first, second = (tersor.Calibrator(method="percentile") for _ in range(2))
    for values in lists:
        first.update(values)
    values = [value for values in lists for value in values]
    random.shuffle(values)
    for value in values:
        second.merge(tersor.Calibrator(method="percentile").update([value]))
    assert_identical(first._counts, second._counts)
    assert_identical(first._exponents, second._exponents)
    assert first._counts.sum() == len(values)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("options", [{}, {"symmetric": False}, {"axis": 1}, {"dtype": "uint4"}])
def test_gives_the_scale_of_quantize(backend, method, options):
    x = hostile("normal", (50, 4))
    c = tersor.Calibrator(method=method, **options).update(x, backend=backend)
    q = tersor.quantize(x, method=method, **options, backend=backend)
    if method != "mse":  # for which quantize has the entries themselves, not their bins
        assert_identical(c.scale, q.scale)
        assert_identical(c.zero_point, q.zero_point)


def test_absmax_is_exact(backend):
    x = hostile("normal", (5, 300))
    c = tersor.Calibrator(axis=0)
    for part in np.split(x, 10, axis=1):
        c.update(part, backend=backend)
    assert_identical(c.scale, np.abs(x).max(axis=1) / np.float32(127))
    assert_identical(c.range[0], np.minimum(x.min(axis=1), 0))
    wide = tersor.Calibrator().update(np.array([1e300])).update(np.float32([2]))
    assert_identical(wide.scale, np.asarray(1e300 / 127))


@pytest.mark.parametrize("percentile", [50, 90, 99, 99.9, 100])
@pytest.mark.parametrize("kind", ["normal", "ties", "ascending", "constant"])
def test_percentile_is_within_a_bin(backend, kind, percentile):
    x = hostile(kind, 10007)
    options = {"method": "percentile", "percentile": percentile}
    got = tersor.quantize(x, **options, backend=backend).scale * 127
    want = np.percentile(np.abs(x), percentile, method="inverted_cdf")
    largest = np.abs(x).max()
    assert abs(got - want) <= BIN * largest * (1 + 1e-5)
    c = tersor.Calibrator(symmetric=False, **options).update(x, backend=backend)
    ends = np.percentile(x, [(100 - percentile) / 2, (100 + percentile) / 2], method="inverted_cdf")
    for ours, theirs in zip(c.range, ends, strict=True):
        theirs = min(theirs, 0) if ours is c.range[0] else max(theirs, 0)
    low, high = c.range
    assert abs(low - min(ends[0], 0)) <= BIN * largest * (1 + 1e-5)
    assert abs(high - max(ends[1], 0)) <= BIN * largest * (1 + 1e-5)


def squared_error(x, scale, zero, low, high):
    q = np.clip(np.rint(x / scale) + zero, low, high)
    return float((((q - zero) * scale - x.astype(np.float64)) ** 2).sum())


@pytest.mark.parametrize("dtype, low, high", [("int8", -127, 127), ("int4", -7, 7)])
@pytest.mark.parametrize(
    "where",
    [
        {},
        {"axis": 0},
        {"block_size": 100},
        {"axis": 0, "block_size": 2},
    ],
)
def test_mse_is_the_best_of_its_candidates(backend, dtype, low, high, where):
    x = hostile("normal", (4, 300))
    x[2] *= np.float32(1e-3)
    x[:, 5] *= 20
    q = tersor.quantize(x, method="mse", dtype=dtype, **where, backend=backend)
    absmax = tersor.quantize(x, dtype=dtype, **where)
    errors = np.zeros((80, *q.scale.shape))
    for i, shrink in enumerate(np.arange(100, 20, -1) / 100):
        # The candidates as they are defined: the range shrunk, then divided.
        scale = absmax.scale * np.float32(high) * np.float32(shrink) / np.float32(high)
        for index, place in groups(x.shape, q):
            errors[(i, *place)] = squared_error(x[index], scale[place], 0, low, high)
    for index, place in groups(x.shape, q):
        error = squared_error(x[index], q.scale[place], 0, low, high)
        assert error <= errors[(..., *place)].min() * (1 + 1e-5)
    assert (q.scale <= absmax.scale).all()
    assert dtype == "int8" or (q.scale < absmax.scale).any()


def groups(shape, q):
    if q.axis is None:
        yield (), ()
    elif q.block_size is None:
        for i in range(shape[q.axis]):
            yield (slice(None),) * q.axis + (i,), (i,)
    else:
        for place in np.ndindex(q.scale.shape):
            start = place[q.axis] * q.block_size
            index = list(place)
            index[q.axis] = slice(start, start + q.block_size)
            yield tuple(index), place


def test_mse_asymmetric_is_better_than_the_whole_range(backend):
    x = np.abs(hostile("normal", 2000))
    x[0] = 60
    options = {"dtype": "uint4", "symmetric": False, "backend": backend}
    errors = [
        ((np.asarray(tersor.quantize(x, method=method, **options)) - x) ** 2).sum()
        for method in ("absmax", "mse")
    ]
    assert errors[1] < errors[0]


def test_mse_of_bins_is_near_that_of_entries():
    x = hostile("normal", 20000)
    x[:5] *= 10
    for symmetric in (True, False):
        options = {"dtype": "int4", "symmetric": symmetric}
        c = tersor.Calibrator(method="mse", **options).update(x)
        best = tersor.quantize(x, method="mse", **options)
        zero = {} if symmetric else {"zero_point": c.zero_point}
        ours = tersor.quantize(x, scale=c.scale, **zero, **options)
        errors = [((np.asarray(q) - x) ** 2).sum() for q in (ours, best)]
        assert errors[1] <= errors[0] <= errors[1] * 1.01


def test_entropy_cuts_outliers_and_keeps_the_rest(backend):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(100_000).astype(np.float32)
    x[:10] = 100
    limit = tersor.quantize(x, method="entropy", backend=backend).scale * 127
    assert 3 < limit < 20
    even = rng.uniform(-1, 1, 100_000).astype(np.float32)
    assert tersor.quantize(even, method="entropy", backend=backend).scale * 127 > 0.9


def divergence(count, levels, i):
    """Of P from Q, as the reference defines them, bin by bin."""
    p, q = [float(c) for c in count[:i]], [0.0] * i
    p[-1] += float(sum(count[i:]))
    for k in range(levels):
        bins = [j for j in range(k * i // levels, (k + 1) * i // levels) if count[j]]
        for j in bins:
            q[j] = sum(float(count[b]) for b in bins) / len(bins)
    if sum(q) == 0:
        return np.inf
    used = [j for j in range(i) if p[j]]
    p = [p[j] / sum(count) for j in used]
    q = [0.9999 * q[j] / sum(q) + 1e-4 / len(used) for j in used]
    return sum(a * np.log(a / b) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("levels", [4, 7])
def test_entropy_bins_by_their_definition(levels):
    rng = np.random.default_rng(1)
    counts = np.floor(np.exp(rng.normal(3, 2, (7, 40)))).astype(np.int64)
    counts[1, 20:] = 0
    counts[2, ::3] = 0
    counts[3] = 0
    counts[4, 1:] = 0
    counts[5, :39] = 0
    ours, theirs = (module.entropy_bins(counts, levels) for module in (cpu, reference))
    for count, *got in zip(counts, ours, theirs, strict=True):
        found = [divergence(count, levels, i) for i in range(levels, 41)]
        best = min(found)
        want = levels + found.index(best) if np.isfinite(best) else 40
        for i in got:
            assert i == want or found[i - levels] <= best + 1e-15


@pytest.mark.parametrize("shape", [(1, 0), (3, 1), (5, 1000), (1, 200_003), (100, 70_001)])
def test_histogram_is_numpys(threads, shape):
    rows = hostile("normal", shape)
    rows[..., ::7] = np.nan
    exponents = np.full(shape[0], 4)
    got = cpu.histogram(rows, exponents, 64)
    assert got.sum() == np.isfinite(rows).sum()
    for i in {0, shape[0] - 1}:
        row = rows[i][np.isfinite(rows[i])].astype(np.float64)
        ends = np.linspace(0, 16, 65)
        positive, _ = np.histogram(row[row >= 0], ends)
        negative, _ = np.histogram(-row[row < 0], ends)
        assert_identical(got[i], np.concatenate([negative[::-1], positive]))
    if shape[0] < 100:
        assert_identical(got, reference.histogram(rows, exponents, 64))


@pytest.mark.parametrize("method", METHODS)
def test_layouts(method):
    x = hostile("normal", (40, 3))
    want = tersor.Calibrator(method=method, axis=1).update(x)
    for _, view in layouts(x):
        with unchanged(view):
            got = tersor.Calibrator(method=method, axis=1).update(view)
        assert_identical(got.scale, want.scale)


@pytest.mark.parametrize("method", METHODS)
def test_same_scale_for_any_thread_count(threads, method):
    x = hostile("normal", (4, 70_001))
    got = tersor.quantize(x, method=method, axis=0).scale
    with tersor.num_threads(1):
        assert_identical(got, tersor.quantize(x, method=method, axis=0).scale)


def test_memory_is_bounded():
    c = tersor.Calibrator(method="entropy", axis=0)
    sizes = set()
    for i in range(20):
        c.update(hostile("normal", (3, 1000), seed=i) * 2.0**i)
        sizes.add(c._counts.nbytes)
    assert sizes == {3 * 4096 * 8} and c._counts.sum() == c.count == 60000


def test_nothing_and_zeros(backend):
    for method in METHODS:
        for x in (np.zeros((0, 3), "f"), np.zeros((4, 3), "f"), np.full((2, 3), np.nan, "f")):
            for axis in (None, 1):
                c = tersor.Calibrator(method=method, axis=axis).update(x, backend=backend)
                assert (c.scale == 1).all() and c.zero_point is None
                q = tersor.quantize(x, method=method, axis=axis, backend=backend)
                assert (q.scale == 1).all() and (q.data == 0).all()
        low = tersor.Calibrator(method=method, symmetric=False).update(np.zeros(3))
        assert low.scale == 1 and low.zero_point == -128


def test_errors():
    c = tersor.Calibrator()
    with pytest.raises(ValueError, match="update the Calibrator with an array first"):
        c.scale  # noqa: B018
    with pytest.raises(ValueError, match="x must be finite where its scale is fitted"):
        c.update([1.0, np.inf])
    with pytest.raises(TypeError, match="x must be float16"):
        c.update([1j])
    with pytest.raises(TypeError, match="other must be a Calibrator, got int"):
        c.merge(3)
    with pytest.raises(ValueError, match="other must have the same options"):
        c.merge(tersor.Calibrator(method="mse"))
    with pytest.raises(ValueError, match="method must be 'absmax'"):
        tersor.Calibrator(method="best")
    with pytest.raises(TypeError, match=r"axis must be an int, got 0\.5"):
        tersor.Calibrator(axis=0.5)
    with pytest.raises(ValueError, match="percentile must be above 0 and at most 100, got 101"):
        tersor.Calibrator(percentile=101)
    with pytest.raises(TypeError, match="dtype must be one of int8"):
        tersor.Calibrator(dtype="int16")
    by_axis = tersor.Calibrator(axis=0).update(np.ones((3, 2)))
    with pytest.raises(ValueError, match="x must have 3 entries along axis 0, got 2"):
        by_axis.update(np.ones((2, 2)))
    with pytest.raises(ValueError, match="other must have 3 scales, got 4"):
        by_axis.merge(tersor.Calibrator(axis=0).update(np.ones((4, 2))))
    with pytest.raises(ValueError, match="x must have at least one dimension for axis=0"):
        by_axis.update(1.0)
    with pytest.raises(TypeError, match="x must be float32 with compat"):
        tersor.Calibrator(compat="torch").update(np.ones(3))
    assert repr(c).startswith("Calibrator(dtype='int8', axis=None, symmetric=True, method='absmax'")


def test_compat_is_the_streamed_observer():
    torch = pytest.importorskip("torch")
    observers = pytest.importorskip("torch.ao.quantization.observer")
    x = hostile("normal", (10, 100))
    with warnings.catch_warnings(action="ignore"):  # torch.ao is deprecated
        observer = observers.MinMaxObserver(dtype=torch.qint8, qscheme=torch.per_tensor_affine)
    c = tersor.Calibrator(compat="torch", symmetric=False)
    for row in x:
        observer(torch.from_numpy(row))
        c.update(row)
    scale, zero_point = observer.calculate_qparams()
    assert_identical(c.scale, scale.float().numpy()[0])
    assert c.zero_point == zero_point.numpy()[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ends_of_every_sign_and_nan(backend, dtype):
    module = {"cpu": cpu, "reference": reference}.get(backend)
    if module is None:
        pytest.skip("has tests of its own")
    rng = np.random.default_rng(3)
    negative_nan = np.array([-1], f"i{np.dtype(dtype).itemsize}").view(dtype)[0]
    special = [0.0, -0.0, np.nan, negative_nan, np.inf, -np.inf, 1e-40, -1e-40, 1.0, -1.0]
    for n in (1, 7, 255, 256, 257, 1000):
        x = rng.standard_normal((6, n)).astype(dtype)
        x[1], x[2] = np.abs(x[1]), -np.abs(x[2])
        x[3], x[4] = rng.choice(special, n), rng.choice(special)
        x[5, n // 2] = negative_nan
        for row in x:
            low, high, nans = module.min_max(row, None, None)
            known = row[~np.isnan(row)]
            assert low == known.min(initial=np.inf if known.size else 0)
            assert high == known.max(initial=-np.inf if known.size else 0)
            assert nans == n - known.size
            for ours, theirs in zip(
                module.min_max(row, 0, 100), reference.min_max(row, 0, 100), strict=True
            ):
                np.testing.assert_array_equal(ours, theirs)
