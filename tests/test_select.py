import itertools
import warnings
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16

import tersor
from tersor._quantiles import METHODS
from tersor.testing import (
    KINDS,
    SPECIAL_KINDS,
    assert_identical,
    hostile,
    layouts,
    unchanged,
)

DTYPES = [
    np.float16,
    bfloat16,
    np.float32,
    np.float64,
    np.int8,
    np.uint8,
    np.int32,
    np.uint64,
    bool,
]
SHORT = [(1, 1), (5, 4), (3, 17), (2, 1100)]
LONG = [(1, 131072), (1, 200003)]  # shared by the threads, in two chunks and in four
NUMBERS = [np.float16, np.float32, np.float64, np.int8, np.uint16, np.int64]
in_each_kind = pytest.mark.parametrize("kind", KINDS + SPECIAL_KINDS)


def shapes(backend, dtype):
    """Long ones where they go another way, for a dtype of each sort."""
    is_long = backend == "cpu" and dtype in (np.float32, np.int8)
    return SHORT + LONG if is_long else SHORT


def widened(x):
    """float16 and bfloat16 as float32: NumPy 2.4 sorts subnormal float16 wrongly by AVX-512."""
    return x.astype(np.float32) if x.dtype.name in ("float16", "bfloat16") else x


def sorted_rows(x, largest=False):
    """The indices that sort each row, NaN last, equal entries in order."""
    x = widened(x)
    if not largest:
        return np.argsort(x, axis=1, kind="stable")
    places = np.unique(x, return_inverse=True)[1].reshape(x.shape)  # ascending, NaN last
    return np.argsort(np.where(np.isnan(x), 1, -places), axis=1, kind="stable")


@in_each_kind
@pytest.mark.parametrize("dtype", DTYPES)
def test_top_k_is_what_sorting_puts_first(backend, dtype, kind):
    for shape in shapes(backend, dtype):
        x = hostile(kind, shape, dtype)
        for mode in ("largest", "smallest"):
            order = sorted_rows(x, mode == "largest")
            for k in {0, 1, shape[1] // 3, shape[1]}:
                got = tersor.top_k(x, k, mode=mode, backend=backend)
                assert_identical(got.indices, order[:, :k])
                assert_identical(got.values, np.take_along_axis(x, order[:, :k], axis=1))
                some = tersor.top_k(x, k, mode=mode, sorted=False, backend=backend)
                assert_identical(some.indices, np.sort(order[:, :k], axis=1))
                assert_identical(some.values, np.take_along_axis(x, some.indices, axis=1))


@pytest.mark.parametrize("axis", [None, 0, 1, 2, -1, -3])
def test_top_k_axis_and_layout(backend, axis):
    x = hostile("ties", (6, 7, 8))
    want = tersor.top_k(x, 3, axis=axis, backend=backend)
    along = x.ravel() if axis is None else x
    order = np.argsort(-along, axis=axis or 0, kind="stable").take(range(3), axis=axis or 0)
    assert_identical(want.indices, order)
    assert_identical(want.values, np.take_along_axis(along, order, axis=axis or 0))
    for name, view in layouts(x):
        with unchanged(view):
            got = tersor.top_k(view, 3, axis=axis, backend=backend)
        assert_identical(got.indices, want.indices), name
        assert_identical(got.values, want.values), name
    swapped = tersor.top_k(x.astype(">f4"), 3, axis=axis, backend=backend)
    assert_identical(swapped.values, want.values)


def test_bools_of_other_bytes(backend):
    odd = np.random.default_rng(0).choice(np.array([0, 1, 2, 255], np.uint8), 5000).view(bool)
    values, indices = tersor.top_k(odd, 4000, backend=backend)
    assert_identical(indices, np.argsort(~(odd.view(np.uint8) != 0), kind="stable")[:4000])
    assert_identical(values.view(np.uint8), (odd[indices].view(np.uint8) != 0).view(np.uint8))
    assert_identical(tersor.median(odd, backend=backend), np.median(odd))


def test_top_k_is_torchs_without_ties():
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(hostile("normal", (40, 500)))
    got = tersor.top_k(x, 20)
    want = torch.topk(x, 20)
    assert torch.equal(got.values, want.values) and torch.equal(got.indices, want.indices)


def test_top_k_of_other_numbers(backend):
    z = np.array([1 + 1j, 1, 2, 2, np.nan, -3])
    assert tersor.top_k(z, 3, backend=backend).indices.tolist() == [2, 3, 0]
    assert tersor.top_k(z, 9 - 3, mode="smallest", backend=backend).indices.tolist()[-1] == 4
    long = np.array([1, 3, 2], np.longdouble)
    assert_identical(tersor.top_k(long, 1, backend=backend).values, np.array([3], np.longdouble))
    assert tersor.top_k([[], []], 0, backend=backend).values.shape == (2, 0)


def assert_partitioned(x, got, indices, kth):
    """`got` holds the entries of the rows of `x`, with those that sorting puts at `kth` there."""
    wide, got_wide = widened(x), widened(got)
    ordered = np.sort(wide, axis=1)
    np.testing.assert_array_equal(np.sort(got_wide, axis=1), ordered)
    np.testing.assert_array_equal(
        np.sort(indices, axis=1), np.arange(x.shape[1])[None] + 0 * indices
    )
    assert_identical(np.take_along_axis(x, indices, axis=1), got)
    for k in kth:
        np.testing.assert_array_equal(got_wide[:, k], ordered[:, k])
        np.testing.assert_array_equal(np.sort(got_wide[:, :k], axis=1), ordered[:, :k])


@in_each_kind
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8])
def test_many_rows_of_a_few(dtype, kind):
    """Several of which are compared at once, also where they do not fill a SIMD value."""
    for n in (1, 2, 3, 4, 5, 8, 9, 16, 17) if dtype is np.float32 else (5, 8):
        x = hostile(kind, (259, n), dtype)
        largest, smallest = sorted_rows(x, True), sorted_rows(x)
        ordered = np.take_along_axis(x, smallest, axis=1)
        for k in {0, 1, n // 2, n}:
            got = tersor.top_k(x, k)
            assert_identical(got.indices, largest[:, :k])
            assert_identical(got.values, np.take_along_axis(x, largest[:, :k], axis=1))
            some = tersor.top_k(x, k, mode="smallest", sorted=False)
            assert_identical(some.indices, np.sort(smallest[:, :k], axis=1))
            assert_identical(some.values, np.take_along_axis(x, some.indices, axis=1))
        places = tersor.argpartition(x, n // 2, backend="cpu")
        got = tersor.partition(x, n // 2, backend="cpu")
        assert_partitioned(x, got, places, [n // 2])
        pivot = ordered[:, n // 2, None]
        both = {"before": got < pivot, "equal": got == pivot, "behind": got > pivot}
        for where, mask in both.items():  # in the order of the row
            steps = np.diff(places, axis=1) > 0
            assert (steps | ~(mask[:, 1:] & mask[:, :-1])).all(), where
        ranks = np.unique([0, n // 3, n // 2, n - 1])
        picked, nans = _kernels("cpu").order_statistics(x, ranks[None])
        np.testing.assert_array_equal(widened(picked), widened(ordered[:, ranks]))
        assert_identical(nans, np.isnan(widened(x)).sum(axis=1))
        each = np.random.default_rng(n).integers(0, n, (259, 2))
        picked, _ = _kernels("cpu").order_statistics(x, each)
        want = np.take_along_axis(ordered, each, axis=1)
        np.testing.assert_array_equal(widened(picked), widened(want))


def _kernels(backend):
    return import_module(f"tersor_kernels.{backend}.select")


@in_each_kind
@pytest.mark.parametrize("dtype", DTYPES)
def test_partitions_hold_what_numpy_promises(backend, dtype, kind):
    for shape in shapes(backend, dtype):
        x, n = hostile(kind, shape, dtype), shape[1]
        for kth in (0, n // 2, -1, [n // 2, 0, n - 1, n // 3]):
            with unchanged(x):
                got = tersor.partition(x, kth, backend=backend)
                indices = tersor.argpartition(x, kth, backend=backend)
            places = np.unique(np.asarray(kth) % n)
            assert_partitioned(x, got, indices, places.tolist())


def test_partition_keeps_order_on_both_sides():
    x = np.array([5, 3, 8, 1, 9, 3, 2, 7])
    assert tersor.argpartition(x, 3, backend="cpu").tolist() == [3, 6, 1, 5, 0, 2, 4, 7]


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_partition_axis_and_layout(backend, axis):
    x = hostile("ties", (30, 40))
    want = np.sort(x, axis=axis)
    for name, view in layouts(x):
        got = tersor.partition(view, 7, axis=axis, backend=backend)
        at = 7 if axis is None else np.index_exp[7] if axis == 0 else np.index_exp[:, 7]
        assert_identical(got[at], want[at]), name
        assert got.shape == want.shape
        indices = tersor.argpartition(view, 7, axis=axis, backend=backend)
        along = view.ravel() if axis is None else view
        assert_identical(np.take_along_axis(along, indices, axis=axis or 0)[at], want[at]), name


@pytest.mark.parametrize(
    "args, options",
    [
        ((np.arange(9000.0), 9000), {}),
        ((np.arange(9000.0), -9001), {}),
        ((np.arange(9000.0), 1.5), {}),
        ((np.arange(9000.0), [[1]]), {}),
        ((np.arange(9000.0), 3), {"axis": 1}),
        ((np.arange(9000.0), 3), {"kind": "quicksort"}),
        ((np.arange(9000.0), 3), {"kind": np.ones(2)}),
        ((np.arange(9000.0), 3), {"order": "x"}),
        ((np.float64(3.0), 1), {"axis": None}),
    ],
)
def test_partition_errors_are_numpys(backend, args, options):
    for ours, numpys in ((tersor.partition, np.partition), (tersor.argpartition, np.argpartition)):
        with pytest.raises(Exception, match=r".") as want:
            numpys(*args, **options)
        with pytest.raises(type(want.value)) as got:
            ours(*args, **options, backend=backend)
        assert str(got.value) == str(want.value)


def assert_like_numpy(name, *args, backend=None, **options):
    """Same type, dtype, shape, values and warnings as NumPy's function of this name."""
    with warnings.catch_warnings(record=True) as expected:
        warnings.simplefilter("always")
        want = getattr(np, name)(*args, **options)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        got = getattr(tersor, name)(*args, **options, backend=backend)
    assert type(got) is type(want)
    assert np.asarray(got).dtype == np.asarray(want).dtype
    np.testing.assert_array_equal(got, want, strict=True)
    assert {(w.category, str(w.message)) for w in warned} == {
        (w.category, str(w.message)) for w in expected
    }


QS = [0.3, 0, 1.0, np.float64(0.7), [0.25, 0.5, 0.9], np.array([0.5, 0.0, 1.0])]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", NUMBERS)
def test_quantiles_are_numpys(backend, dtype, method):
    shapes = [((7, 9), None), ((7, 9), 0), ((5, 8), -1), ((3, 4, 5), (0, 2)), ((501,), 0)]
    for (shape, axis), kind in itertools.product(shapes, ("small", "ties", "nan")):
        x = hostile("normal" if kind == "small" else kind, shape, dtype)
        if kind == "small" and x.dtype.kind in "iu":
            x //= 4  # NumPy lets differences of integers overflow
        options = dict(axis=axis, method=method, backend=backend)
        for q in QS:
            assert_like_numpy("quantile", x, q, **options)
            assert_like_numpy("nanquantile", x, q, **options)
        assert_like_numpy("quantile", x, QS[-1], keepdims=True, **options)
        assert_like_numpy("nanquantile", x, 0.3, keepdims=True, **options)
        assert_like_numpy("percentile", x, 37.5, **options)
        assert_like_numpy("nanpercentile", x, [1, 99], **options)


@in_each_kind
@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("name", ["median", "nanmedian"])
def test_medians_are_numpys(backend, name, dtype, kind):
    if kind == "extremes" and name == "nanmedian":
        pytest.skip("NumPy's is wrong: it takes the mean of the middle entry and itself, inf")
    for shape, axis in [((7, 10), None), ((7, 10), 0), ((7, 10), 1), ((4, 3, 6), (0, 2))]:
        x = hostile(kind, shape, dtype)
        for keepdims in (False, True):
            assert_like_numpy(name, x, axis=axis, keepdims=keepdims, backend=backend)


@pytest.mark.parametrize("kind", ["normal", "ties", "nan", "zeros", "leading_bits", "specials"])
@pytest.mark.parametrize("n", [131071, 131072, 300001])
def test_long_rows(backend, n, kind):
    for dtype in (np.float32, np.float64, np.int16):
        x = hostile(kind, n, dtype)
        for name in ("median", "nanmedian"):
            assert_like_numpy(name, x, backend=backend)
        assert_like_numpy("quantile", x, [0.001, 0.5, 0.5 + 1 / n, 1], backend=backend)
        assert_like_numpy("nanquantile", x, [0.001, 0.9], method="hazen", backend=backend)


def test_long_rows_of_which_half_are_zero(backend):
    """As weights that were pruned: too many lie between the bounds that a sample gives."""
    x = hostile("normal", 400_000, np.float64)
    x[np.random.default_rng(1).random(x.size) < 0.4995] = 0
    mask = tersor.prune_mask(x, 0.5, backend=backend)
    assert mask.sum() == 200_000 and np.abs(x[mask]).min() >= np.abs(x[~mask]).max()
    assert_like_numpy("quantile", np.abs(x), np.array([0.4, 0.4995, 0.5]), backend=backend)
    assert_identical(tersor.top_k(x, 150_000).indices, sorted_rows(x[None], True)[0, :150_000])


@pytest.mark.parametrize("n", [3000, 200_000])
def test_a_sample_that_misleads(n):
    """Values that hide all others from the sample, so that the last resort is taken."""
    long = (np.arange(65536) * 0.6180339887498949 % 1 * n).astype(int)
    short = (np.arange(64, dtype=np.uint64) * 0x9E3779B9 % 2**32 * n >> 32).astype(int)
    for value in (0.0, -5.0, 5.0):
        x = hostile("normal", n)
        x[long[:1200] if n > 131072 else short] = value
        assert_like_numpy("quantile", x, [0.01, 0.5, 0.99], backend="cpu")
        ranks = tersor.top_k(x, n // 3).indices
        assert_identical(ranks, sorted_rows(x[None], True)[0, : n // 3])
    x = hostile("normal", n)
    x[long if n > 131072 else short] = 0.0
    assert_like_numpy("quantile", x, [0.001, 0.5, 0.999], backend="cpu")


@pytest.mark.parametrize("dtype", [np.int8, np.float16, np.float32, np.float64])
def test_strided_rows_are_copied_exactly(dtype, threads):
    from tersor_kernels.cpu import _select_gather

    for shape, view in [
        ((40, 60, 70), lambda x: x.swapaxes(1, 2)),
        ((3, 40, 50, 7), lambda x: x.transpose(3, 1, 0, 2)),
        ((257, 133), lambda x: x.T),
        ((300, 140), lambda x: x[::-1, ::2]),
        ((8, 5003), lambda x: x.T),
        ((5003, 8), lambda x: x.T),
        ((5003, 17), lambda x: x.T[::-1]),
        ((50_000,), lambda x: x[::-3]),
        ((300, 400), lambda x: x[:, 1:]),
        ((30_000,), lambda x: np.broadcast_to(x[:3, None], (3, 20_000))),
    ]:
        x = hostile("normal", shape, dtype)
        for name, laid_out in layouts(x):
            assert_identical(_select_gather.contiguous(view(laid_out)), view(x).copy()), name


def test_strided_rows_are_copied_in_parts(monkeypatch):
    from tersor_kernels.cpu import _select_gather

    monkeypatch.setattr(_select_gather, "_BYTES", 3000)
    x = hostile("ties", (50, 40, 30))
    assert len(list(_select_gather.parts(x.swapaxes(0, 2)))) > 5
    for axis in (0, 1):
        got, want = (
            tersor.top_k(x, 5, axis=axis),
            tersor.top_k(x, 5, axis=axis, backend="reference"),
        )
        assert_identical(got.values, want.values)
        assert_identical(got.indices, want.indices)
        assert_like_numpy("nanquantile", x, [0.2, 0.7], axis=axis, backend="cpu")
        places = tersor.argpartition(x, [4, 9], axis=axis, backend="cpu")
        got = tersor.partition(x, [4, 9], axis=axis, backend="cpu")
        assert_identical(got, np.take_along_axis(x, places, axis=axis))
        mask = tersor.prune_mask(x, 0.3, axis=axis)
        assert_identical(mask, tersor.prune_mask(x, 0.3, axis=axis, backend="reference"))


@pytest.mark.parametrize("kind", ["normal", "ties", "zeros", "extremes", *SPECIAL_KINDS])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_arrays_of_floats(dtype, kind):
    """They take the shortest way, by NumPy's partition where they are small."""
    for n in (1, 2, 3, 10, 4095, 4096, 20_001):
        x = hostile(kind, n, dtype)
        for axis in (None, 0, -1):
            assert_like_numpy("median", x, axis=axis)
        if kind != "extremes":  # of which NumPy's is wrong, see above
            assert_like_numpy("nanmedian", x)
        for q in (0, 0.3, 0.5, 0.999, 1):
            for method in ("linear", "lower", "higher"):
                assert_like_numpy("quantile", x, q, method=method)
            assert_like_numpy("percentile", x, 100 * q)
            if n < 20_001:  # kernels name the warning about infinite entries otherwise
                assert_like_numpy("nanquantile", x, q)
    for name, view in layouts(hostile(kind, (70, 90), dtype)):
        assert_like_numpy("median", view), name
        assert_like_numpy("quantile", view, 0.3), name


def test_results_that_are_written_past_the_caches():
    x = hostile("normal", 2_500_003, np.float64)
    assert x.nbytes > 2**24
    k, order = 1_200_000, np.argsort(x, kind="stable")
    places = tersor.argpartition(x, k)
    assert_identical(np.sort(places[:k]), np.sort(order[:k]))
    assert_identical(tersor.partition(x, k), x[places])
    got = tersor.top_k(x, 2_400_000, mode="smallest", sorted=False)
    assert_identical(got.indices, np.sort(order[:2_400_000]))
    assert_identical(got.values, x[got.indices])
    kept = tersor.prune(x, k=k)
    assert_identical(kept, np.where(tersor.prune_mask(x, k=k), x, 0.0))
    assert np.count_nonzero(kept) == k


def test_integers_do_not_overflow(backend):
    x = np.array([-100, 100], np.int8)
    assert tersor.quantile(x, 0.5, backend=backend) == 0.0
    assert tersor.percentile(x, [25, 75], backend=backend).tolist() == [-50.0, 50.0]


def test_bfloat16(backend):
    x = hostile("normal", (5, 40), bfloat16)
    wide = x.astype(np.float32)
    for axis in (None, 1):
        got = tersor.median(x, axis=axis, backend=backend)
        assert_identical(got, np.median(wide, axis=axis).astype(bfloat16))
        got = tersor.quantile(x, 0.3, axis=axis, backend=backend)
        assert_identical(got, np.quantile(wide, 0.3, axis=axis).astype(bfloat16))
    assert_identical(tersor.nanquantile(x, [0.3], backend=backend), np.quantile(wide, [0.3]))
    x[0, 0] = np.nan
    assert np.isnan(tersor.median(x, backend=backend).astype(float))


def test_out(backend):
    x = hostile("normal", (6, 31))
    for name, args, dtype in [
        ("median", (), np.float32),
        ("nanmedian", (), np.float32),
        ("quantile", (0.3,), np.float32),
        ("nanpercentile", (30.0,), np.float32),
        ("median", (), np.float64),
        ("quantile", (0.3,), np.float64),
    ]:
        got, want = np.empty(6, dtype), np.empty(6, dtype)
        getattr(np, name)(x, *args, axis=1, out=want)
        assert getattr(tersor, name)(x, *args, axis=1, out=got, backend=backend) is got
        assert_identical(got, want)
    with pytest.raises(ValueError, match=r"dimensions|shape"):
        tersor.median(x, axis=1, out=np.empty((2, 6), np.float32), backend=backend)


def test_layouts(backend):
    x = hostile("normal", (9, 30, 4))
    for name, view in layouts(x):
        with unchanged(view):
            for axis in (0, (0, 1), None):
                assert_like_numpy("median", view, axis=axis, backend=backend), name
                assert_like_numpy("quantile", view, 0.3, axis=axis, backend=backend), name
    assert_like_numpy("median", x.astype(">f4"), backend=backend)
    assert_like_numpy("quantile", x.tolist(), 0.3, backend=backend)


@pytest.mark.parametrize("name, args", [("median", ()), ("nanmedian", ()), ("quantile", (0.5,))])
def test_what_kernels_do_not_cover_is_numpys(backend, name, args):
    rng = np.random.default_rng(0)
    for x in (
        rng.random(5000).astype(np.longdouble),
        np.float64(3.0),
        5,
        np.array([1.0, np.nan]),
    ):
        assert_like_numpy(name, x, *args, backend=backend)
    assert_like_numpy("median", rng.integers(0, 99, 5001).astype("m8[s]"), backend=backend)
    masked = np.ma.masked_array(rng.random(5000), rng.random(5000) < 0.5)
    assert_like_numpy("median", masked, backend=backend)
    assert_like_numpy("median", rng.random(5000) + 1j, backend=backend)
    assert_like_numpy("median", rng.integers(0, 9, 5000).astype(object), backend=backend)
    assert_like_numpy("median", rng.random(5001) < 0.3, backend=backend)
    weights = rng.integers(0, 3, 5000)
    options = dict(weights=weights, method="inverted_cdf")
    assert_like_numpy("quantile", rng.random(5000), 0.3, **options, backend=backend)
    assert_like_numpy("nanpercentile", rng.random(5000), 0.3, **options, backend=backend)
    assert_like_numpy("quantile", rng.random(5000), np.float32(0.3), backend=backend)
    assert_like_numpy("quantile", rng.random((60, 90)), [[0.3, 0.4]], axis=0, backend=backend)
    assert_like_numpy("partition", rng.integers(0, 99, 5001).astype("m8[s]"), 2500, backend=backend)


def test_empty_is_numpys():
    for name, args in [("median", ()), ("nanmedian", ()), ("nanquantile", (0.5,))]:
        assert_like_numpy(name, np.ones(0), *args)
        assert_like_numpy(name, np.ones((0, 3)), *args, axis=1)


@pytest.mark.parametrize(
    "name, args, options",
    [
        ("median", (), {"axis": 2}),
        ("median", (), {"axis": (0, 0)}),
        ("median", (), {"axis": 1.5}),
        ("median", (), {"out": []}),
        ("median", (), {"out": "out"}),
        ("quantile", (0.5,), {"method": np.ones(2)}),
        ("quantile", (1.1,), {}),
        ("quantile", (np.nan,), {}),
        ("quantile", ([0.5, -0.1],), {}),
        ("quantile", (0.5,), {"method": "mode"}),
        ("quantile", (0.5,), {"axis": -3}),
        ("quantile", ([[[0.5]]],), {}),
        ("percentile", (101,), {}),
        ("percentile", (50,), {"weights": [1, 2]}),
        ("nanpercentile", (-1,), {}),
        ("nanquantile", (2,), {}),
        ("nanmedian", (), {"axis": 7}),
    ],
)
def test_errors_are_numpys(backend, name, args, options):
    x = hostile("normal", (90, 90))
    with pytest.raises(Exception, match=r".") as want:
        getattr(np, name)(x, *args, **options)
    with pytest.raises(type(want.value)) as got:
        getattr(tersor, name)(x, *args, **options, backend=backend)
    assert str(got.value) == str(want.value)


@pytest.mark.parametrize(
    "args, options, error, message",
    [
        ((np.ones(5), 6), {}, ValueError, r"k must be in 0\.\.5, got 6"),
        ((np.ones(5), -1), {}, ValueError, r"k must be in 0\.\.5, got -1"),
        ((np.ones(5), 1.5), {}, TypeError, r"k must be an int, got 1\.5"),
        ((np.ones(5), 1), {"axis": 1}, ValueError, r"axis must be in -1\.\.0"),
        ((np.ones(5), 1), {"mode": "best"}, ValueError, "mode must be 'largest' or 'smallest'"),
        ((np.array(["a"]), 1), {}, TypeError, "a must be numeric, got <U1"),
        ((np.float64(1), 1), {}, ValueError, "a must have at least one dimension for axis=-1"),
        ((np.ones(5), True), {}, TypeError, "k must be an int, got True"),
        ((np.ones(5), 1), {"axis": True}, TypeError, "axis must be an int, got True"),
        ((np.ones(5), 1), {"sorted": None}, TypeError, "sorted must be True or False, got None"),
    ],
)
def test_top_k_errors(backend, args, options, error, message):
    with pytest.raises(error, match=message):
        tersor.top_k(*args, **options, backend=backend)


def test_same_bits_for_any_thread_count(threads):
    def results():
        return [
            *tersor.top_k(x, 100_000),
            tersor.argpartition(x, [5, 300_000], backend="cpu"),
            tersor.partition(x.reshape(7, -1), 50_000, backend="cpu"),
            tersor.quantile(x, [0.1, 0.9]),
        ]

    for kind in ("normal", "ties", "zeros"):
        x = hostile(kind, 700_007)
        got = results()
        with tersor.num_threads(1):
            for a, b in zip(got, results(), strict=True):
                assert_identical(a, b)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int32", "uint64"])
def test_small_inputs_are_numpys(dtype):
    """And large ones are not, whichever way they go."""
    from tersor._select_least import least, rows_of_numpy

    x = hostile("normal", 10_000)
    x = (x * 50).astype(dtype) if np.dtype(dtype).kind == "f" else (x * 20).astype("i1").view("u1")
    x = x.astype(dtype) if dtype != "int8" else x.view("i1")
    for op in ("flat", "median", "quantile", "partition", "argpartition"):
        for n in (least(op, x.dtype) - 1, least(op, x.dtype)):
            part = x[:n]
            assert_like_numpy("median", part)
            assert_like_numpy("median", part.reshape(1, -1), axis=1)
            assert_like_numpy("quantile", part.astype(np.float64), [0.1, 0.5])
            assert tersor.partition(part, 9)[9] == np.partition(part, 9)[9]
            assert part[tersor.argpartition(part, 9)[9]] == np.partition(part, 9)[9]
    for op in ("partition", "median"):
        for n in (rows_of_numpy(op, x.dtype)[:1] or [16])[0] - 1, 17, 200, 511, 513, 1025:
            part = x[: x.size // n * n].reshape(-1, n)
            assert_like_numpy("median", part, axis=1)
            assert_identical(tersor.partition(part, 5, axis=1)[:, 5], np.sort(part, axis=1)[:, 5])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int32", "int64"])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 255, 256, 257, 1023, 1024, 4095, 4096])
def test_median_of_all_entries(dtype, n):
    """The short ways: three places, one place and maxima, a kernel."""
    x = hostile("normal", n)
    x = x.astype(dtype) if np.dtype(dtype).kind == "f" else (x * 40).astype(dtype)
    assert_like_numpy("median", x)
    assert_like_numpy("nanmedian", x)
    assert_like_numpy("median", np.full(n, x[0]))
    if x.dtype.kind == "f":
        for value, places in ((np.nan, 1), (np.nan, n), (np.inf, (n + 1) // 2), (-np.inf, n)):
            special = x.copy()
            special[:places] = value
            assert_like_numpy("median", special)
    else:
        assert_like_numpy("median", np.full(n, np.iinfo(dtype).max, dtype))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(width=32), min_size=1, max_size=50), st.data())
def test_property_first_of_the_sorted(values, data):
    x = np.array([values], np.float32)
    k = data.draw(st.integers(0, x.size))
    for backend, mode in itertools.product(("cpu", "reference"), ("largest", "smallest")):
        got = tersor.top_k(x, k, mode=mode, backend=backend)
        assert_identical(got.indices, sorted_rows(x, mode == "largest")[:, :k])
    places = data.draw(st.lists(st.integers(0, x.size - 1), min_size=1, max_size=4))
    got = tersor.partition(x, places, backend="cpu")
    assert_partitioned(x, got, tersor.argpartition(x, places, backend="cpu"), places)
