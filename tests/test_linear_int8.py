import copy
import pickle

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16

import tersor
from tersor.testing import (
    assert_identical,
    assert_within_ulp,
    guarded,
    hostile,
    layouts,
    unchanged,
)
from tersor_kernels.cpu import matmul_int8 as cpu
from tersor_kernels.cpu._gemm_tiles import TILES, tiles_for
from tersor_kernels.cpu._ir import features as host_features

FLOATS = [np.float16, bfloat16, np.float32, np.float64]
SCHEMES = [
    {},
    {"axis": 0},
    {"block_size": 32},
    {"block_size": 7},
    {"axis": 1, "block_size": 3},
    {"axis": 0, "symmetric": False},
    {"axis": 0, "dtype": "uint8"},
    {"block_size": 7, "dtype": "uint8", "symmetric": False},
    {"axis": 0, "dtype": "int4"},
    {"block_size": 8, "dtype": "uint4", "symmetric": False},
]
HERE = [tile.name for tile in tiles_for(host_features())]
# "cpu" is the best for this CPU; each other takes seconds to compile.
VARIANTS = [
    "reference",
    "cpu",
    *(pytest.param(t, marks=() if t == "portable" else pytest.mark.full) for t in HERE),
]


@pytest.fixture(params=VARIANTS)
def variant(request, monkeypatch):
    """The name of a backend, "cpu" with each of its micro-kernels."""
    if request.param not in TILES:
        return request.param
    monkeypatch.setattr(cpu, "TILE", TILES[request.param])
    return "cpu"


def layer(m, k, n, scheme, dtype=np.float32):
    """Activations, quantized weights and a bias."""
    x, w = hostile("normal", (m, k), dtype), hostile("normal", (n, k), seed=1)
    return x, tersor.quantize(w, **scheme), hostile("normal", n, dtype, seed=2)


def exactly(x, q, bias=0.0):
    """x @ w.T + bias in float64, and the sum of the magnitudes of all terms."""
    x, w = x.astype(np.float64), q.dequantize(np.float64)
    magnitude = np.abs(x) @ np.abs(w).T + np.abs(bias).astype(np.float64)
    return x @ w.T + np.asarray(bias, np.float64), magnitude


def activations_of(x, activations):
    """What is multiplied: x, or its rows as "int8" has them, by the public function."""
    return x if activations == "float" else tersor.quantize(x, axis=0).dequantize(np.float64)


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@pytest.mark.parametrize("activations", ["int8", "float"])
def test_product_with_the_dequantized_weights(variant, activations, scheme):
    for m, k, n in [(1, 1, 1), (2, 70, 33), (13, 67, 40), (100, 129, 270), (5, 1100, 3)]:
        x, q, bias = layer(m, k, n, scheme)
        packed = tersor.PackedInt8(q, backend=variant)
        with unchanged(x, q.data, q.scale, bias):
            got = tersor.linear_int8(x, packed, bias, activations=activations, backend=variant)
        assert got.dtype == np.float32
        want, magnitude = exactly(activations_of(x, activations), q, bias)
        assert_within_ulp(got, want, 4, floor=magnitude)  # sums may cancel
        plain = tersor.linear_int8(x, q, bias, activations=activations, backend=variant)
        assert_identical(plain, got)


@pytest.mark.parametrize("activations", ["int8", "float"])
def test_integers_come_out_exact(variant, activations):
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-127, 128, (size, 200)).astype(np.float32) for size in (30, 70))
    x[:, 0], w[:, 0] = 127, -127  # so the scales are 1
    q = tersor.quantize(w, axis=0)
    got = tersor.linear_int8(x, q, activations=activations, backend=variant)
    assert_identical(got, (x.astype(np.int64) @ w.T.astype(np.int64)).astype(np.float32))


@pytest.mark.parametrize("dtype", [*FLOATS, np.int16, bool])
@pytest.mark.parametrize("activations", ["int8", "float"])
def test_dtypes(backend, activations, dtype):
    x, q, bias = layer(20, 300, 40, {"block_size": 100}, dtype)
    got = tersor.linear_int8(x, q, bias, activations=activations, backend=backend)
    if x.dtype.kind in "ib":
        x = x.astype(np.float64)
    assert got.dtype == x.dtype
    want, magnitude = exactly(activations_of(x, activations), q, bias)
    # two bytes: computed in float32 and rounded once
    assert_within_ulp(got, want, 4 if x.dtype.itemsize > 2 else 0.51, floor=magnitude)
    mixed = tersor.linear_int8(x, q, bias.astype(np.float64), backend=backend)
    assert_identical(mixed, tersor.linear_int8(x, q, bias, backend=backend))


@pytest.mark.parametrize(
    "activations, kind",
    [
        *((a, kind) for a in ("int8", "float") for kind in ("zeros", "denormal", "ties")),
        ("int8", "extremes"),
    ],
)
def test_inputs_that_hurt(backend, activations, kind):
    x, w = hostile(kind, (6, 50), np.float32), 1e-4 * hostile("normal", (20, 50))
    q = tersor.quantize(w, axis=0)
    got = tersor.linear_int8(x, q, activations=activations, backend=backend)
    want, magnitude = exactly(activations_of(x, activations), q)
    assert_within_ulp(got, want, 4, floor=magnitude)


def test_rows_with_nan_and_infinity(backend):
    x, q, bias = layer(5, 40, 30, {"axis": 0})
    x[1, 3], x[2, 0], x[3, 39] = np.nan, np.inf, -np.inf
    clean = tersor.linear_int8(x[[0, 4]], q, bias, backend=backend)
    got = tersor.linear_int8(x, q, bias, backend=backend)
    assert_identical(got[[0, 4]], clean)
    assert np.isnan(got[1:4]).all()
    got = tersor.linear_int8(x, q, bias, activations="float", backend=backend)
    with np.errstate(invalid="ignore"):
        want = x @ q.dequantize().T + bias
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))
    np.testing.assert_array_equal(got[~np.isfinite(got)], want[~np.isfinite(want)])


@pytest.mark.parametrize("scheme", [{"axis": 0}, {"block_size": 40_000}, {"block_size": 32_768}])
@pytest.mark.parametrize("activations", ["int8", "float"])
def test_k_beyond_int32(backend, activations, scheme):
    x, w = np.full((3, 140_000), 127, np.float32), np.full((5, 140_000), -127, np.float32)
    x[1] = -1
    q = tersor.quantize(w, **scheme)
    got = tersor.linear_int8(x, q, activations=activations, backend=backend)
    want, magnitude = exactly(x, q)
    assert np.abs(want).max() > 2**31
    # "float": 1,024 roundings in a row, all to one side
    assert_within_ulp(got, want, 4 if activations == "int8" else 64, floor=magnitude)


@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_any_shape_and_block(data):
    leading = tuple(data.draw(st.lists(st.integers(0, 4), max_size=3)))
    k, n = data.draw(st.integers(0, 40)), data.draw(st.integers(0, 40))
    x = hostile("ties", (*leading, k), seed=data.draw(st.integers(0, 9)))
    block_size = data.draw(st.none() | st.integers(1, 45))
    q = tersor.quantize(
        hostile("normal", (n, k)),
        dtype=data.draw(st.sampled_from(["int8", "int4"])),
        axis=1 if block_size else 0,
        block_size=block_size,
    )
    rows = x.reshape(int(np.prod(leading)), k)
    for activations in ("int8", "float"):
        want, magnitude = exactly(activations_of(rows, activations), q)
        for backend in ("cpu", "reference"):
            got = tersor.linear_int8(x, q, activations=activations, backend=backend)
            assert got.shape == (*leading, n)
            assert_within_ulp(got.reshape(want.shape), want, 4, floor=magnitude)


@pytest.mark.parametrize("activations", ["int8", "float"])
def test_layouts_and_out(backend, activations):
    x, q, bias = layer(12, 30, 50, {"axis": 0})
    x = x.reshape(3, 4, 30)
    options = {"activations": activations, "backend": backend}
    want = tersor.linear_int8(x, q, bias, **options)
    assert want.shape == (3, 4, 50)
    for name, view in layouts(x):
        with unchanged(view), guarded(want.shape, np.float32) as out:
            assert tersor.linear_int8(view, q, bias, out=out, **options) is out
            assert_identical(out, want), name
    for _, out in layouts(np.zeros_like(want)):
        if out.flags.writeable:
            assert tersor.linear_int8(x, q, bias, out=out, **options) is out
            assert_identical(out, want)
    half = np.empty(want.shape, np.float16)
    tersor.linear_int8(x.astype(np.float16), q, out=half, **options)
    assert_identical(half, tersor.linear_int8(x.astype(np.float16), q, **options))
    square = tersor.quantize(hostile("normal", (30, 30)), axis=0)
    want = tersor.linear_int8(x, square, **options)
    assert_identical(tersor.linear_int8(x, square, out=x, **options), want)


@pytest.mark.parametrize("k, n", [(0, 4), (4, 0), (0, 0)])
@pytest.mark.parametrize("block_size", [None, 2])
def test_lengths_of_zero(backend, k, n, block_size):
    axis = 0 if block_size is None else 1
    q = tersor.quantize(np.ones((n, k), np.float32), axis=axis, block_size=block_size)
    bias = np.arange(n, dtype=np.float32)
    for activations in ("int8", "float"):
        for m in (0, 3):
            x = np.ones((m, k), np.float32)
            got = tersor.linear_int8(x, q, bias, activations=activations, backend=backend)
            assert_identical(got, np.tile(bias + k, (m, 1)))


@pytest.mark.parametrize("activations", ["int8", "float"])
def test_same_bits_for_any_thread_count(threads, activations):
    x, q, bias = layer(300, 400, 500, {"block_size": 128})
    got = tersor.linear_int8(x, q, bias, activations=activations)
    with tersor.num_threads(1):
        assert_identical(got, tersor.linear_int8(x, q, bias, activations=activations))
        rows = [tersor.linear_int8(row, q, bias, activations=activations) for row in x[:5]]
    assert_identical(got[:5], np.array(rows))


def test_packed_weights():
    q = tersor.quantize(hostile("normal", (64, 100)), axis=0)
    packed = tersor.PackedInt8(q)
    assert packed.shape == (64, 100)
    assert packed.dtype == "int8"
    assert repr(packed) == f"PackedInt8(shape=(64, 100), dtype='int8', nbytes={packed.nbytes})"
    assert q.nbytes <= packed.nbytes < 1.5 * q.nbytes
    x = hostile("normal", (3, 100))
    want = tersor.linear_int8(x, q)
    q.data[...] = 0
    assert_identical(tersor.linear_int8(x, packed), want)
    with pytest.raises(AttributeError):
        packed.other = 1
    with pytest.raises(TypeError, match="w must be a QuantizedArray, got PackedInt8"):
        tersor.PackedInt8(packed)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_packed_weights_unpack_and_pickle(data):
    n, k = data.draw(st.integers(0, 40)), data.draw(st.integers(0, 70))
    dtype = data.draw(st.sampled_from(["int8", "uint8", "int4", "uint4"]))
    scheme = data.draw(st.sampled_from([{}, {"axis": 0}, {"block_size": 32}, {"block_size": 7}]))
    symmetric = data.draw(st.booleans())
    w = hostile("normal", (n, k), seed=data.draw(st.integers(0, 9)))
    q = tersor.quantize(w, dtype=dtype, symmetric=symmetric, **scheme)
    for backend in ("cpu", "reference"):
        packed = tersor.PackedInt8(q, backend=backend)
        again = pickle.loads(pickle.dumps(packed))
        assert repr(again) == repr(packed)
        for unpacked in (packed.unpack(), copy.deepcopy(packed).unpack(), again.unpack()):
            for name in ("data", "scale", "zero_point"):
                want = getattr(q, name)
                if want is None:
                    assert getattr(unpacked, name) is None
                else:
                    assert_identical(getattr(unpacked, name), want)
            assert repr(unpacked) == repr(q)
            assert unpacked.source_dtype == q.source_dtype
        x = hostile("normal", (2, k))
        want = tersor.linear_int8(x, packed, backend=backend)
        assert_identical(tersor.linear_int8(x, again, backend=backend), want)


def test_packed_nibbles_take_half_the_bytes():
    w = hostile("normal", (256, 512))
    eight, four = (
        tersor.PackedInt8(tersor.quantize(w, dtype=dtype, block_size=128))
        for dtype in ("int8", "int4")
    )
    scales = 4 * 256 * 4
    assert eight.nbytes < 1.03 * (w.size + scales)
    assert four.nbytes < 1.03 * (w.size / 2 + scales)


FUNCTIONS = {
    "relu": lambda y: np.maximum(y, 0),
    "gelu": lambda y: y * scipy.special.ndtr(y),
    "silu": lambda y: y * scipy.special.expit(y),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activations", ["int8", "float"])
def test_nonlinearity(backend, activations, dtype, name):
    x, q, bias = layer(20, 100, 70, {"axis": 0}, dtype)
    options = {"activations": activations, "backend": backend}
    y = tersor.linear_int8(x, q, bias, **options)
    want = FUNCTIONS[name](y.astype(np.float64))
    got = tersor.linear_int8(x, q, bias, nonlinearity=name, **options)
    assert got.dtype == dtype
    bound = 0 if name == "relu" else 3e-7 if dtype == np.float32 else 1e-15
    assert (np.abs(got - want) <= bound * np.abs(y)).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nonlinearity_of_all_magnitudes(backend, name):
    torch = pytest.importorskip("torch")
    q = tersor.quantize(np.ones((1, 1), np.float32), scale=1.0)
    x = np.float32([0, -0.0, 1e-30, -1e-30, 0.5, -0.5, -3, -9, -50, -200, 3, 200, 1e30, -1e30])
    x = np.float32([*x, np.nan, np.inf])[:, None]
    options = {"activations": "float", "backend": backend}
    got = tersor.linear_int8(x, q, nonlinearity=name, **options)
    want = getattr(torch.nn.functional, name)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(got, want, rtol=3e-7, atol=3e-7 * 200)
    assert np.isnan(got[-2])
    assert got[-1] == np.inf


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    x, q, bias = layer(5, 64, 30, {"axis": 0})
    weights = tersor.quantize(torch.from_numpy(hostile("normal", (30, 64), seed=1)), axis=0)
    for w in (q, weights, tersor.PackedInt8(q), tersor.PackedInt8(weights)):
        got = tersor.linear_int8(torch.from_numpy(x), w, torch.from_numpy(bias))
        assert_identical(got.numpy(), tersor.linear_int8(x, q, bias))
    got = tersor.linear_int8(torch.from_numpy(x), weights, activations="float")
    want = torch.nn.functional.linear(torch.from_numpy(x), weights.dequantize())
    torch.testing.assert_close(got, want)
    half = torch.from_numpy(x).to(torch.bfloat16)
    assert tersor.linear_int8(half, q).dtype == torch.bfloat16


X = np.zeros((2, 3), np.float32)
Q = tersor.quantize(np.ones((4, 3), np.float32), axis=0)
ERRORS = [
    (TypeError, (X + 1j, Q), {}, "x must be float16, bfloat16, float32, float64 or integers"),
    (ValueError, (np.float32(1), Q), {}, r"x must have the shape \(..., 3\), as w has \(4, 3\)"),
    (ValueError, (X[:, :2], Q), {}, r"x must have .* as w has \(4, 3\), got \(2, 2\)"),
    (TypeError, (X, X), {}, "w must be a QuantizedArray or PackedInt8, got ndarray"),
    (ValueError, (X, Q, X[0]), {}, r"bias must have the shape \(4,\), got \(3,\)"),
    (TypeError, (X, Q, [1j] * 4), {}, "bias must be float16"),
    (
        ValueError,
        (X, Q),
        {"activations": "int4"},
        "activations must be 'int8' or 'float', got 'int4'",
    ),
    (
        ValueError,
        (X, Q),
        {"nonlinearity": "tanh"},
        "nonlinearity must be 'relu', 'gelu', 'silu' or None, got 'tanh'",
    ),
    (ValueError, (X, Q), {"out": X}, r"out must have shape \(2, 4\), got \(2, 3\)"),
    (TypeError, (X, Q), {"out": np.empty((2, 4))}, "out must have dtype float32, got float64"),
    (
        ValueError,
        (X, tersor.quantize(np.ones(3, np.float32))),
        {},
        r"w must have the shape \(n, k\), got \(3,\)",
    ),
    *(
        (
            ValueError,
            (X, tersor.quantize(np.ones((4, 3), np.float32), **scheme)),
            {},
            "w must be quantized per tensor, with axis=0, or in blocks along axis 1, got axis=",
        )
        for scheme in ({"axis": 1}, {"axis": 0, "block_size": 2})
    ),
]


@pytest.mark.parametrize("error, args, options, message", ERRORS)
def test_errors(backend, error, args, options, message):
    with pytest.raises(error, match=message):
        tersor.linear_int8(*args, **options, backend=backend)


def test_packed_for_another_backend():
    packed = tersor.PackedInt8(Q, backend="reference")
    with pytest.raises(ValueError, match="w must be packed for the backend that runs"):
        tersor.linear_int8(X, packed)
