import itertools
from collections import namedtuple
from functools import partial

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
    guarded,
    hostile,
    layouts,
    unchanged,
)
from tersor_bench.memory import peak_memory

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
# Around the lengths where a row takes another way: short, and long enough for several threads.
SHAPES = [(1, 1), (5, 4), (3, 16), (3, 17), (2, 1100), (1, 131072), (1, 200003)]
in_each_kind = pytest.mark.parametrize("kind", KINDS + SPECIAL_KINDS)


def kept_by_sorting(w, k, nan="keep", scores=None):
    """A mask of the k best of a 1-D array: Python's sort, on exact numbers, is stable."""

    def rank(i):
        score = abs(w[i].item()) if scores is None else scores[i].item()
        if score != score:
            return (0 if nan == "keep" else 2, 0)
        return (1, -score)

    mask = np.zeros(w.size, bool)
    mask[sorted(range(w.size), key=rank)[:k]] = True
    return mask


@in_each_kind
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_are_what_sorting_keeps(backend, dtype, kind):
    for shape in SHAPES[:5]:
        w = hostile(kind, shape, dtype)
        for nan, k in itertools.product(("keep", "prune"), {0, 1, shape[1] // 2, shape[1]}):
            mask = tersor.prune_mask(w, k=k, axis=1, nan=nan, backend=backend)
            want = np.array([kept_by_sorting(row, k, nan) for row in w])
            assert_identical(mask, want)
            pruned = tersor.prune(w, k=k, axis=1, nan=nan, backend=backend)
            assert_identical(pruned, np.where(want, w, np.zeros((), dtype)))


@in_each_kind
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8])
def test_many_rows_of_a_few(dtype, kind):
    """Several of which are compared at once, also where they do not fill a SIMD value."""
    sizes = (1, 3, 4, 7, 8, 9, 16, 17) if dtype is np.float32 else (5, 8)
    for n, nan in itertools.product(sizes, ("keep", "prune")):
        w = hostile(kind, (259, n), dtype)
        for k in {1, n // 2, n}:
            how = dict(k=k, axis=1, nan=nan)
            want = tersor.prune_mask(w, **how, backend="reference")
            assert_identical(tersor.prune_mask(w, **how), want)
            assert_identical(tersor.prune(w, **how), np.where(want, w, np.zeros((), dtype)))


@in_each_kind
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
def test_long_arrays_are_what_sorting_keeps(backend, dtype, kind):
    for shape in SHAPES[5:]:
        w = hostile(kind, shape, dtype)
        magnitude = np.abs(w.astype(np.float64))[0]
        for nan, retain_ratio in itertools.product(("keep", "prune"), (0.003, 0.5)):
            known = np.where(np.isnan(magnitude), np.inf if nan == "keep" else -1, magnitude)
            # inf and a NaN that ranks above it differ in the second key
            order = np.lexsort((np.arange(w.size), -known, ~np.isnan(magnitude)))
            if nan == "prune":
                order = np.lexsort((np.arange(w.size), -known))
            want = np.zeros(w.shape, bool)
            want[0, order[: int(retain_ratio * w.size + 0.5)]] = True
            mask = tersor.prune_mask(w, retain_ratio, nan=nan, backend=backend)
            assert_identical(mask, want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_scores_decide(backend, dtype):
    w = hostile("normal", (6, 50), np.float32)
    for kind in KINDS + SPECIAL_KINDS:
        scores = hostile(kind, w.shape, dtype)
        for nan in ("keep", "prune"):
            how = dict(k=70, scores=scores, nan=nan, backend=backend)
            want = kept_by_sorting(w.ravel(), 70, nan, scores.ravel()).reshape(w.shape)
            assert_identical(tersor.prune_mask(w, **how), want)
            assert_identical(tersor.prune(w, **how), np.where(want, w, np.float32(0)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "threshold", [-np.inf, -1, 0, 0.1, 1, 1.5, 2, 128, 65519.0, 65536, 2**63, 1e300, np.inf]
)
def test_threshold_is_compared_exactly(backend, dtype, threshold):
    for kind in KINDS + SPECIAL_KINDS:
        w = hostile(kind, 200, dtype)
        for scores in (None, w):
            numbers = [abs(x.item()) if scores is None else x.item() for x in w]
            for nan in ("keep", "prune"):
                got = tersor.prune_mask(
                    w, threshold=threshold, scores=scores, nan=nan, backend=backend
                )
                want = [x >= threshold if x == x else nan == "keep" for x in numbers]
                assert_identical(got, np.array(want))


def test_threshold_that_the_dtype_does_not_hold(backend):
    above = np.float32(0.1)
    below = np.nextafter(above, np.float32(0))
    assert float(below) < 0.1 < float(above)
    w = np.array([below, above, -above], np.float32)
    assert tersor.prune_mask(w, threshold=0.1, backend=backend).tolist() == [False, True, True]
    assert tersor.prune_mask(w, threshold=below, backend=backend).all()


def test_k_rounds_half_up(backend):
    for n, retain_ratio, k in [(5, 0.1, 1), (5, 0.5, 3), (5, 0.7, 4), (4, 0.1, 0), (3, 1.0, 3)]:
        mask = tersor.prune_mask(np.ones(n), retain_ratio, backend=backend)
        assert mask.tolist() == [True] * k + [False] * (n - k)


def test_selected_not_multiplied(backend):
    w = np.array([np.inf, -np.inf, np.nan, -0.0, 1.0], np.float32)
    scores = np.array([0, 0, 1, 9, 9])
    got = tersor.prune(w, k=2, scores=scores.astype(float), nan="prune", backend=backend)
    assert_identical(got, np.array([0, 0, 0, -0.0, 1], np.float32))
    got = tersor.prune(w, k=0, nan="keep", backend=backend)
    assert_identical(got, np.zeros(5, np.float32))
    got = tersor.prune(w, k=5, nan="prune", backend=backend)
    assert_identical(got, w)


@pytest.mark.parametrize("value", [np.iinfo(np.int64).min, -4, 2**62 + 1])
def test_integers_are_kept_bit_by_bit(backend, value):
    w = np.array([0, value, 1], np.int64)
    assert tersor.prune(w, k=1, backend=backend).tolist() == [0, value, 0]
    row = tersor.prune(np.repeat(w, 30)[None], k=30, axis=1, backend=backend)
    assert row[0].tolist() == [0] * 30 + [value] * 30 + [0] * 30


@pytest.mark.parametrize(
    "pattern, n, m", [("2:4", 2, 4), ("1:4", 1, 4), ("0:3", 0, 3), ("8:20", 8, 20)]
)
def test_n_of_m(backend, pattern, n, m):
    for kind in ("normal", "ties", "zeros"):
        w = hostile(kind, (3, 5, 60))
        mask = tersor.prune_mask(w, pattern=pattern, backend=backend)
        want = [kept_by_sorting(group, n) for group in w.reshape(-1, m)]
        assert_identical(mask, np.array(want).reshape(w.shape))
        first = tersor.prune(w.swapaxes(0, 2), pattern=pattern, axis=0, backend=backend)
        assert_identical(first.swapaxes(0, 2), np.where(mask, w, np.float32(0)))


def test_blocks(backend):
    w = np.arange(24, dtype=np.float32).reshape(4, 6)
    mask = tersor.prune_mask(w, 0.25, pattern=(2, 2), backend=backend)
    for pattern in ((1, 1), (4, 6), (2, None)):  # an array of its own, whatever the blocks
        assert tersor.prune_mask(w, 1.0, pattern=pattern, backend=backend).flags.writeable
    assert mask.sum() == 8 and mask[2:, 2:].all()  # the 1.5 best of 6 blocks, rounded up
    channel = tersor.prune(w, k=1, pattern=(None, 1), backend=backend)
    assert_identical(channel, np.where(np.arange(6) == 5, w, np.float32(0)))
    fewest = tersor.prune_mask(w, k=1, pattern=(1, None), scores=-w, backend=backend)
    assert fewest[0].all() and not fewest[1:].any()
    assert tersor.prune_mask(-w, threshold=66.0, pattern=(2, 2), backend=backend).sum() == 8
    for name, view in layouts(hostile("normal", (6, 8, 4))):
        got = tersor.prune(view, 0.5, pattern=(3, 2, None), backend=backend)
        blocks = np.abs(view.astype(np.float64)).reshape(2, 3, 4, 2, 4).sum(axis=(1, 3, 4))
        best = kept_by_sorting(blocks.ravel(), 4).reshape(2, 1, 4, 1, 1)
        want = np.where(best, np.asarray(view).reshape(2, 3, 4, 2, 4), np.float32(0))
        assert_identical(got, want.reshape(view.shape)), name


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_layouts_and_out(backend, axis):
    w = hostile("ties", (12, 40))
    want = tersor.prune(w, 0.3, axis=axis, backend=backend)
    mask = tersor.prune_mask(w, 0.3, axis=axis, backend=backend)
    assert_identical(want, np.where(mask, w, np.float32(0)))
    for name, view in layouts(w):
        with unchanged(view):
            assert_identical(tersor.prune(view, 0.3, axis=axis, backend=backend), want), name
            assert_identical(tersor.prune_mask(view, 0.3, axis=axis, backend=backend), mask), name
        out = np.ones_like(view)
        assert tersor.prune(view, 0.3, axis=axis, out=out, backend=backend) is out
        assert_identical(out, want), name
        if view.flags.writeable:
            assert tersor.prune(view, 0.3, axis=axis, out=view, backend=backend) is view
            assert_identical(np.asarray(view), want), name


def test_byte_order_and_overlap(backend):
    w = hostile("normal", 1000)
    want = tersor.prune(w, 0.3, backend=backend)
    swapped = w.astype(">f4")
    assert_identical(tersor.prune(swapped, 0.3, backend=backend), want)
    tersor.prune(swapped, 0.3, out=swapped, backend=backend)
    np.testing.assert_array_equal(swapped, want)
    raw = np.concatenate([np.zeros(1, np.float32), w])
    tersor.prune(raw[1:], 0.3, out=raw[:-1], backend=backend)
    assert_identical(raw[:-1], want)
    with guarded((20, 50), np.float32) as out:
        tersor.prune(w.reshape(20, 50), 0.3, out=out, backend=backend)
    with guarded((20, 50), bool) as out:
        tersor.prune_mask(w.reshape(20, 50), 0.3, axis=1, out=out, backend=backend)


def test_empty_and_scalar(backend):
    assert_identical(tersor.prune(np.ones((0, 3)), 0.5, backend=backend), np.ones((0, 3)))
    assert_identical(tersor.prune(np.ones((3, 0)), 0.5, axis=1, backend=backend), np.ones((3, 0)))
    assert tersor.prune_mask(np.ones((3, 0)), k=0, pattern=(1, None), backend=backend).size == 0
    assert_identical(tersor.prune(5.0, k=1, backend=backend), np.array(5.0))
    assert_identical(tersor.prune(5.0, 0.4, backend=backend), np.array(0.0))


def test_same_bits_for_any_thread_count(threads):
    for kind in ("ties", "normal", "leading_bits"):
        w = hostile(kind, 1_000_003)
        got = tersor.prune(w, 0.1)
        with tersor.num_threads(1):
            assert_identical(got, tersor.prune(w, 0.1))
        assert np.count_nonzero(tersor.prune_mask(w, 0.1)) == 100_000


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(width=32), min_size=1, max_size=40),
    st.floats(0, 1),
    st.sampled_from(["keep", "prune"]),
)
def test_property_exactly_k_and_sorted(values, retain_ratio, nan):
    w = np.array(values, np.float32)
    k = int(retain_ratio * w.size + 0.5)
    want = kept_by_sorting(w, k, nan)
    for backend in ("cpu", "reference"):
        mask = tersor.prune_mask(w, retain_ratio, nan=nan, backend=backend)
        assert mask.tolist() == want.tolist()


def test_torch_agrees_and_gets_tensors_back():
    torch = pytest.importorskip("torch")
    prune = pytest.importorskip("torch.nn.utils.prune")
    w = torch.from_numpy(hostile("normal", (30, 40)))  # without ties the rules coincide
    layer = torch.nn.Linear(40, 30)
    layer.weight.data = w.clone()
    prune.l1_unstructured(layer, "weight", amount=0.75)
    got = tersor.prune(w, 0.25)
    assert torch.equal(got, layer.weight.detach())
    assert tersor.prune(w, 0.25, out=w) is not None
    assert torch.equal(got, w)
    half = w.to(torch.bfloat16)
    assert tersor.prune(half, 0.1).dtype == torch.bfloat16
    assert set(tersor.prune_global({"a": w, "b": half}, 0.1)) == {"a", "b"}


def test_torch_prunes_the_same_globally():
    torch = pytest.importorskip("torch")
    prune = pytest.importorskip("torch.nn.utils.prune")
    layers = [torch.nn.Linear(20, 30), torch.nn.Linear(30, 5)]
    weights = [layer.weight.detach().numpy().copy() for layer in layers]
    prune.global_unstructured(
        [(layer, "weight") for layer in layers], prune.L1Unstructured, amount=0.75
    )
    got = tersor.prune_global(weights, 0.25)
    for w, layer in zip(got, layers, strict=True):
        np.testing.assert_array_equal(w, layer.weight.detach().numpy())  # torch leaves -0.0


@pytest.mark.parametrize("kind", ["normal", "ties", "zeros", "constant", "denormal", "extremes"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8])
def test_global_is_the_same_as_concatenated(backend, dtype, kind):
    shapes = [(7, 11), (), (0,), (70001,), (3, 4)]
    tensors = [hostile(kind, shape, dtype, seed=i) for i, shape in enumerate(shapes)]
    every = np.concatenate([x.ravel() for x in tensors])
    for retain_ratio in (0, 0.001, 0.4, 1):
        want = tersor.prune(every, retain_ratio, backend="reference")
        with unchanged(*tensors):
            got = tersor.prune_global(tensors, retain_ratio, backend=backend)
        assert [x.shape for x in got] == shapes
        assert_identical(np.concatenate([x.ravel() for x in got]), want)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_global_least(data):
    """Against the greedy definition: first each tensor's best, then the best of the rest."""
    value = st.integers(-4, 4)
    tensors = data.draw(st.lists(st.lists(value, max_size=8), min_size=1, max_size=4))
    retain_ratio = data.draw(st.floats(0, 1))
    min_retain = retain_ratio * data.draw(st.floats(0, 1))
    places = [(-abs(x), t, i) for t, xs in enumerate(tensors) for i, x in enumerate(xs)]
    kept = set()
    for t, xs in enumerate(tensors):
        kept |= set(sorted(p for p in places if p[1] == t)[: int(min_retain * len(xs))])
    k = int(retain_ratio * len(places) + 0.5)
    kept |= set(sorted(p for p in places if p not in kept)[: k - len(kept)])
    want = [
        [x if (-abs(x), t, i) in kept else 0 for i, x in enumerate(xs)]
        for t, xs in enumerate(tensors)
    ]
    for backend in ("cpu", "reference"):
        arrays = {str(t): np.array(xs, np.float32) for t, xs in enumerate(tensors)}
        got = tersor.prune_global(arrays, retain_ratio, min_retain=min_retain, backend=backend)
        assert [x.tolist() for x in got.values()] == want


def test_global_scores_and_mixed_dtypes(backend):
    tensors = (np.array([1, 2], np.float32), np.array([3, 4], np.float16), np.array([5, -9]))
    got = tersor.prune_global(tensors, 0.5, backend=backend)
    assert isinstance(got, tuple) and [x.dtype for x in got] == [x.dtype for x in tensors]
    assert [x.tolist() for x in got] == [[0, 0], [0, 4], [5, -9]]
    half = [np.ones(2, np.float16), 2 * np.ones(2, bfloat16)]
    got = tersor.prune_global(half, 0.75, backend=backend)
    assert [x.tolist() for x in got] == [[1, 0], [2, 2]]
    scores = [np.array([9.0, 8]), np.array([-9.0, -8]), np.array([1.0, 0])]
    got = tersor.prune_global(tensors, 0.5, scores=scores, backend=backend)
    assert [x.tolist() for x in got] == [[1, 2], [0, 0], [5, 0]]
    pair = namedtuple("Pair", "a b")(*tensors[:2])
    assert type(tersor.prune_global(pair, 0.5, backend=backend)) is type(pair)
    assert tersor.prune_global([], 0.5, backend=backend) == []
    assert tersor.prune_global({}, 0.5, backend=backend) == {}


def test_schedule():
    def at(step, kind="cubic"):
        return tersor.retain_schedule(step, begin=10, end=20, initial=0.9, final=0.1, kind=kind)

    assert at(-5) == at(10) == 0.9 and at(20) == at(1000) == 0.1
    # Zhu and Gupta's sparsity: s_f + (s_i - s_f) (1 - p)^3
    assert at(15) == pytest.approx(1 - (0.9 + (0.1 - 0.9) * 0.5**3), abs=1e-15)
    assert at(12.5, "linear") == pytest.approx(0.7, abs=1e-15)
    assert [at(s, "constant") for s in (9.9, 10, 15, 30)] == [0.9, 0.1, 0.1, 0.1]
    assert tersor.retain_schedule(3, begin=3, end=3, final=0.5) == 0.5
    assert tersor.retain_schedule(2, begin=3, end=3, final=0.5) == 1.0
    assert type(at(15)) is float


@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (8,), (9,), (3, 0), (2, 3, 17), (100, 64)])
def test_pack_mask_is_packbits(backend, shape):
    mask = hostile("normal", shape, bool)
    for name, view in layouts(mask):
        with unchanged(view):
            packed = tersor.pack_mask(view, backend=backend)
        assert_identical(packed, np.packbits(mask, axis=-1, bitorder="little")), name
        assert_identical(tersor.unpack_mask(packed, shape[-1], backend=backend), mask), name


W = np.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({}, ValueError, "exactly one of retain_ratio, k, threshold, pattern must be given"),
        ({"retain_ratio": 0.5, "k": 3}, ValueError, "got retain_ratio, k"),
        (
            {"pattern": (1, 1)},
            ValueError,
            "exactly one of retain_ratio, k, threshold must be given with a pattern of blocks",
        ),
        ({"retain_ratio": 1.1}, ValueError, r"retain_ratio must be in 0\.\.1, got 1\.1"),
        ({"retain_ratio": np.nan}, ValueError, r"retain_ratio must be in 0\.\.1, got nan"),
        ({"retain_ratio": "half"}, TypeError, "retain_ratio must be a number, got 'half'"),
        ({"k": 13}, ValueError, r"k must be in 0\.\.12, got 13"),
        ({"k": 5, "axis": 1}, ValueError, r"k must be in 0\.\.4, got 5"),
        ({"k": 1.5}, TypeError, "k must be an int, got 1.5"),
        ({"retain_ratio": True}, TypeError, "retain_ratio must be a number, got True"),
        ({"k": True}, TypeError, "k must be an int, got True"),
        ({"threshold": True}, TypeError, "threshold must be a number, got True"),
        ({"threshold": "1"}, TypeError, "threshold must be a number, got '1'"),
        ({"k": 1, "axis": False}, TypeError, "axis must be an int, got False"),
        ({"k": 1, "pattern": (True, 1)}, TypeError, "each size in pattern must be an int, got Tr"),
        ({"pattern": ["2:4"]}, TypeError, "pattern must be 'n:m' or a tuple of block sizes"),
        ({"k": 1, "nan": W}, ValueError, "nan must be 'raise', 'keep' or 'prune', got array"),
        ({"k": 1, "axis": 2}, ValueError, r"axis must be in -2\.\.1"),
        ({"threshold": np.nan}, ValueError, "threshold must not be NaN"),
        ({"threshold": 1, "axis": 0}, ValueError, "axis must be None with threshold"),
        ({"pattern": "3:2"}, ValueError, "pattern must be 'n:m' with n in 0..m"),
        ({"pattern": "0:0"}, ValueError, "pattern must be 'n:m'"),
        ({"pattern": "dense"}, ValueError, "pattern must be 'n:m'"),
        ({"pattern": "2:3"}, ValueError, "axis 1 must be a multiple of 3 for 2:3, got 4"),
        ({"k": 1, "pattern": (1,)}, ValueError, "pattern must have a size for each axis"),
        ({"k": 1, "pattern": (2, 2)}, ValueError, r"pattern must divide the shape \(3, 4\)"),
        ({"k": 1, "scores": np.ones(12)}, ValueError, r"scores must have the shape of w"),
        ({"k": 1, "scores": W * 1j}, TypeError, "scores must be float16"),
        ({"k": 1, "nan": "skip"}, ValueError, "nan must be 'raise', 'keep' or 'prune'"),
        ({"k": 1, "scores": W * np.nan}, ValueError, "scores must not hold NaN.*got 12"),
        ({"k": 1, "out": np.ones(12)}, ValueError, r"out must have shape \(3, 4\), got \(12,\)"),
        ({"k": 1, "out": [[1.0]]}, TypeError, "out must be an array, got list"),
        (
            {"k": 1, "out": np.ones((3, 4), np.int16)},
            TypeError,
            "out must have dtype .*, got int16",
        ),
    ],
)
def test_errors(backend, options, error, message):
    for function in (tersor.prune, tersor.prune_mask):
        with pytest.raises(error, match=message):
            function(W, **options, backend=backend)


def test_nan_is_refused_before_anything_is_written(backend):
    w = np.array([1.0, np.nan, 3.0, np.nan])
    with unchanged(w), pytest.raises(ValueError, match=r"w must not hold NaN.*got 2"):
        tersor.prune(w, 0.5, out=w, backend=backend)
    with pytest.raises(ValueError, match=r"tensors\['b'\] must not hold NaN"):
        tersor.prune_global({"a": np.ones(3), "b": w}, 0.5, backend=backend)
    with pytest.raises(ValueError, match="scores must be floats where w holds NaN, got int64"):
        tersor.prune(w, 0.5, scores=np.arange(4), nan="keep", backend=backend)
    with pytest.raises(ValueError, match="the sum of the scores of a block must not hold NaN"):
        infinite = np.array([[np.inf, -np.inf]])
        tersor.prune(infinite, 0.5, pattern=(1, 2), scores=infinite, backend=backend)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: tersor.prune(W * 1j, 0.5), TypeError, "w must be float16.*got complex128"),
        (lambda: tersor.prune("abc", 0.5), TypeError, "w must be an array"),
        (lambda: tersor.prune_global(W, 0.5), TypeError, "tensors must be a list, tuple or dict"),
        (lambda: tersor.prune_global([W], 2), ValueError, r"retain_ratio must be in 0\.\.1"),
        (
            lambda: tersor.prune_global([W], 0.5, min_retain=0.6),
            ValueError,
            r"min_retain must be in 0\.\.retain_ratio = 0\.5, got 0\.6",
        ),
        (
            lambda: tersor.prune_global([W], 0.5, scores={"a": W}),
            ValueError,
            "scores must be a container like tensors",
        ),
        (
            lambda: tersor.prune_global([W], 0.5, scores=[W[0]]),
            ValueError,
            r"scores\[0\] must have the shape of tensors\[0\], \(3, 4\), got \(4,\)",
        ),
        (
            lambda: tersor.retain_schedule(0, begin=2, end=1, final=0.5),
            ValueError,
            "end must not be before begin",
        ),
        (
            lambda: tersor.retain_schedule(0, begin=0, end=1, final=1.5),
            ValueError,
            r"final must be in 0\.\.1, got 1\.5",
        ),
        (
            lambda: tersor.retain_schedule(0, begin=0, end=1, final=0.5, kind="cosine"),
            ValueError,
            "kind must be 'cubic', 'linear' or 'constant', got 'cosine'",
        ),
        (
            lambda: tersor.retain_schedule(None, begin=0, end=1, final=0.5),
            TypeError,
            "step must be a number, got None",
        ),
        (
            lambda: tersor.retain_schedule(0, begin=0, end=np.inf, final=0.5),
            ValueError,
            "end must be finite, got inf",
        ),
        (
            lambda: tersor.prune_global([W], 0.5, min_retain=False),
            TypeError,
            "min_retain must be a number, got False",
        ),
        (
            lambda: tersor.prune(np.float32(1), k=1, axis=0),
            ValueError,
            "w must have at least one dimension for axis=0",
        ),
        (
            lambda: tersor.prune([1.0, np.nan], 0.5),
            ValueError,
            "got 1 NaN of 2 entries: prune and prune_mask take them with nan='keep' or",
        ),
        (
            lambda: tersor.unpack_mask(np.ones(3, np.uint8), (24,)),
            TypeError,
            r"n must be an int, got \(24,\)",
        ),
        (lambda: tersor.pack_mask(np.ones(3)), TypeError, "mask must be bool, got float64"),
        (lambda: tersor.pack_mask(np.array(True)), ValueError, "mask must have an axis"),
        (lambda: tersor.unpack_mask(np.ones(3), 3), TypeError, "packed must be uint8"),
        (
            lambda: tersor.unpack_mask(np.ones(3, np.uint8), 3),
            ValueError,
            r"packed must have ceil\(n / 8\) bytes along its last axis for n=3, got shape \(3,\)",
        ),
    ],
)
def test_more_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
    w = np.ones(3)
    w.flags.writeable = False
    with pytest.raises(ValueError, match="out must be writeable"):
        tersor.prune(np.ones(3), 0.5, out=w)


# What is left of a pair of layers.


@pytest.mark.parametrize("neighbours", [1, 3])
def test_compact_leaves_the_product_alone(neighbours):
    rng = np.random.default_rng(0)
    first = rng.standard_normal((20, 7)).astype(np.float32)
    second = rng.standard_normal((5, 20 * neighbours)).astype(np.float32)
    first = tersor.prune(first, 0.3, pattern=(1, None))
    x = rng.standard_normal((7, 4)).astype(np.float32)

    def layers(first, second):
        return second @ np.repeat(np.maximum(first @ x, 0), neighbours, axis=0)

    with unchanged(first, second):
        a, b, kept = tersor.compact(first, second)
    assert a.shape == (6, 7) and b.shape == (5, 6 * neighbours) and kept.dtype == np.int64
    assert_identical(a, first[kept])
    np.testing.assert_allclose(layers(a, b), layers(first, second), rtol=1e-5, atol=1e-5)
    back, forth, same = tersor.compact(first.T, second.T, axis=1, second_axis=0)
    assert_identical(np.ascontiguousarray(back.T), a)
    assert_identical(np.ascontiguousarray(forth.T), b)
    assert_identical(same, kept)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_compact_keeps_what_it_is_told(data):
    channels, inner, g = (data.draw(st.integers(0, 5)) for _ in range(3))
    first = np.arange(channels * inner).reshape(channels, inner)
    second = np.arange(2 * channels * g).reshape(2, channels * g)
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=channels, max_size=channels)), bool)
    a, b, kept = tersor.compact(first, second, keep=keep)
    assert kept.tolist() == [i for i in range(channels) if keep[i]]
    assert a.tolist() == [first[i].tolist() for i in kept]
    assert b.tolist() == [[row[i * g + j] for i in kept for j in range(g)] for row in second]


def test_compact_of_convolutions_nan_and_tensors():
    first = np.zeros((3, 2, 3, 3), np.float32)
    first[1, 0, 1, 1], first[2, 1, 0, 0] = np.nan, -0.0
    a, b, kept = tersor.compact(first, np.ones((4, 3, 1, 1)))
    assert kept.tolist() == [1] and a.shape == (1, 2, 3, 3) and b.shape == (4, 1, 1, 1)
    torch = pytest.importorskip("torch")
    a, _, kept = tersor.compact(
        torch.eye(3)[[0, 0, 1]] * torch.tensor([[1], [0], [2]]), torch.eye(3)
    )
    assert isinstance(a, torch.Tensor) and kept.tolist() == [0, 2]


@pytest.mark.parametrize(
    "arguments, options, error, message",
    [
        ((W, np.ones((2, 4))), {}, ValueError, "second must have a multiple of 3 entries along ax"),
        ((W, W.T), {"keep": [1, 0, 1]}, TypeError, "keep must be bool, got int64"),
        ((W, W.T), {"keep": [True]}, ValueError, r"keep must have shape \(3,\), got \(1,\)"),
        ((W, W.T), {"axis": 2}, ValueError, r"axis must be in -2\.\.1"),
        ((W, 1.0), {}, ValueError, "second must have at least one dimension"),
    ],
)
def test_errors_of_compact(arguments, options, error, message):
    with pytest.raises(error, match=message):
        tersor.compact(*arguments, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"retain_ratio": 0.5, "scored": True},
        {"k": 1000, "axis": 1, "scored": True},
        {"pattern": "2:4", "scored": True},
        {"k": 30, "pattern": (1, None)},
        {"k": 30, "pattern": (None, 1)},
        {"retain_ratio": 0.5, "pattern": (4, 4)},
        {"retain_ratio": 0.5, "pattern": (4, 4), "scored": True},
        {"retain_ratio": 0.5},
    ],
)
def test_peak_memory(options):
    """Beyond the result: under a fifth of an input that is large beside what threads hold."""
    w = hostile("normal", (4096, 4096))
    scores = {"scores": np.abs(w)} if options.pop("scored", False) else {}
    call = partial(tersor.prune, w, options.pop("retain_ratio", None), **options, **scores)
    call()
    peak = peak_memory(call)
    if peak is None:
        pytest.skip("unknown here")
    assert peak < 1.2 * w.nbytes


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.float64, bfloat16])
def test_long_arrays_by_scores_and_blocks(dtype):
    """In parts, also where the mask lies in the result; in place too."""
    w = hostile("normal", (1500, 400), dtype)
    for options in (
        {"k": 1234, "scores": hostile("ties", w.shape, seed=1)},
        {"k": 100, "axis": 1, "scores": hostile("ties", w.shape, seed=2)},
        {"k": 100, "axis": 0, "scores": hostile("ties", w.shape, seed=2)},
        {"k": 999, "pattern": (3, 4)},
        {"k": 99, "pattern": (None, 1)},
    ):
        mask = tersor.prune_mask(w, **options, backend="reference")
        want = np.where(mask, w, np.zeros((), dtype))
        assert_identical(tersor.prune(w, **options), want)
        out = np.empty_like(w)
        tersor.prune(w, **options, out=out)
        assert_identical(out, want)
        out = w.copy()
        tersor.prune(out, **options, out=out)
        assert_identical(out, want)
        if "scores" in options and options["scores"].dtype == dtype:
            out = options["scores"].copy()
            tersor.prune(w, **options | {"scores": out}, out=out)
            assert_identical(out, want)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_blocks_are_ranked_by_their_sums(data):
    sizes = [data.draw(st.integers(1, 3)) for _ in range(2)]
    counts = [data.draw(st.integers(1, 4)) for _ in range(2)]
    shape = tuple(n * size for n, size in zip(counts, sizes, strict=True))
    values = st.lists(
        st.integers(-3, 3), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]
    )
    w = np.array(data.draw(values), np.float32).reshape(shape)
    k = data.draw(st.integers(0, counts[0] * counts[1]))
    blocks = [
        (slice(i * sizes[0], (i + 1) * sizes[0]), slice(j * sizes[1], (j + 1) * sizes[1]))
        for i in range(counts[0])
        for j in range(counts[1])
    ]
    best = sorted(range(len(blocks)), key=lambda i: -np.abs(w[blocks[i]]).sum())[:k]
    want = np.zeros(shape, bool)
    for i in best:
        want[blocks[i]] = True
    pattern = tuple(sizes)
    assert_identical(tersor.prune_mask(w, k=k, pattern=pattern), want)
    assert_identical(tersor.prune(w, k=k, pattern=pattern), np.where(want, w, np.float32(0)))


@settings(deadline=None, max_examples=60)
@given(
    st.floats(-10, 30),
    st.floats(0, 10),
    st.floats(0, 10),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from(["cubic", "linear", "constant"]),
)
def test_schedules_fall_from_one_ratio_to_the_other(step, begin, length, initial, final, kind):
    options = dict(begin=begin, end=begin + length, initial=initial, final=final, kind=kind)
    now, later = (tersor.retain_schedule(s, **options) for s in (step, step + 1))
    low, high = sorted((initial, final))
    assert low - 1e-15 <= now <= high + 1e-15
    assert (later - now) * (final - initial) >= -1e-15
    assert tersor.retain_schedule(begin + length, **options) == pytest.approx(final, abs=1e-15)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), max_size=4), st.integers(0, 5))
def test_masks_come_back(rows, n):
    mask = np.array(rows, bool).reshape(-1, 5)[:, :n]
    packed = tersor.pack_mask(mask)
    assert packed.shape == (len(rows), -(-n // 8))
    assert_identical(tersor.unpack_mask(packed, n), np.ascontiguousarray(mask))
