import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tersor
from tersor.testing import assert_identical, guarded, hostile, layouts, unchanged
from tersor_kernels.cpu import matmul_int8 as cpu
from tersor_kernels.cpu._gemm_int8 import TILES, host_features, tiles_for

DTYPES = [np.int8, np.uint8]
LARGEST_K = {"int8 int8": 131071, "uint8 int8": 65793, "int8 uint8": 65793, "uint8 uint8": 33025}
# "cpu" is the best for this CPU; each other takes seconds to compile.
QUICK = ["avx2", "portable"]
VARIANTS = [
    "reference",
    "cpu",
    *(pytest.param(t, marks=() if t in QUICK else pytest.mark.full) for t in TILES),
]


@pytest.fixture(params=VARIANTS)
def variant(request, monkeypatch):
    """The name of a backend, "cpu" with each of its micro-kernels."""
    if request.param not in TILES:
        return request.param
    tile = TILES[request.param]
    if tile not in tiles_for(host_features()):
        pytest.skip(f"this CPU has no {tile.needs}")
    monkeypatch.setattr(cpu, "TILE", tile)
    return "cpu"


def exactly(a, b, a_zero_point=0, b_zero_point=0):
    return np.matmul(a.astype(np.int64) - a_zero_point, b.astype(np.int64) - b_zero_point)


def random_int8(rng, shape, dtype=None):
    dtype = rng.choice(DTYPES) if dtype is None else dtype
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtypes", [(a, b) for a in DTYPES for b in DTYPES])
@pytest.mark.parametrize("kind", ["normal", "extremes"])
def test_product_is_exact(variant, kind, dtypes):
    # around the heights and widths of micro-kernels, a strip of 64, blocks of 96, 256 and 1024
    sizes = [(1, 1, 1), (2, 3, 5), (13, 65, 33), (97, 64, 257), (5, 1025, 8), (200, 127, 31)]
    for m, k, n in sizes:
        a = hostile(kind, (m, k), dtypes[0], seed=1)
        b = hostile(kind, (k, n), dtypes[1], seed=2)
        with unchanged(a, b):
            got = tersor.matmul_int8(a, b, backend=variant)
        assert_identical(got, exactly(a, b).astype(np.int32))


@pytest.mark.parametrize("value_a", [-128, 127, 0, 255])
@pytest.mark.parametrize("value_b", [-128, 127, 0, 255])
def test_nothing_saturates(variant, value_a, value_b):
    a = np.full((7, 1000), value_a, np.int8 if value_a < 128 else np.uint8)
    b = np.full((1000, 40), value_b, np.int8 if value_b < 128 else np.uint8)
    got = tersor.matmul_int8(a, b, backend=variant)
    assert_identical(got, np.full((7, 40), value_a * value_b * 1000, np.int32))


def check_random_case(rng, variant):
    m, k, n = (int(rng.choice([rng.integers(1, 20), rng.integers(1, 300)])) for _ in range(3))
    a, b = random_int8(rng, (m, k)), random_int8(rng, (k, n))
    zeros = {
        "a_zero_point": random_int8(rng, rng.choice([1, m]), a.dtype),
        "b_zero_point": random_int8(rng, rng.choice([1, n]), b.dtype),
    }
    a = list(layouts(a))[rng.integers(6)][1]
    b = list(layouts(b))[rng.integers(6)][1]
    want = exactly(
        a, b, zeros["a_zero_point"].astype(int)[:, None], zeros["b_zero_point"].astype(int)
    )
    got = tersor.matmul_int8(a, b, **zeros, backend=variant)
    assert_identical(got, want.astype(np.int32))


def test_random_shapes_layouts_and_zero_points(variant):
    rng = np.random.default_rng(0)
    for _ in range(60):
        check_random_case(rng, variant)


@pytest.mark.full
@pytest.mark.parametrize("part", range(10))
def test_a_thousand_random_shapes(variant, part):
    rng = np.random.default_rng(part + 1)
    for _ in range(100):
        check_random_case(rng, variant)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_broadcasting_is_numpys(data):
    size = st.integers(0, 4)
    m, k, n = (data.draw(st.integers(0, 9)) for _ in range(3))
    batch = data.draw(st.lists(size, max_size=3))
    shapes = []
    for last in ((m, k), (k, n)):
        axes = [data.draw(st.sampled_from([1, length])) for length in batch]
        shapes.append((*axes[data.draw(st.integers(0, len(axes))) :], *last))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    a, b = (random_int8(rng, shape) for shape in shapes)
    if data.draw(st.booleans()) and k:
        a = np.broadcast_to(a[..., :1], a.shape)
    if data.draw(st.booleans()):
        b = b[..., ::-1]
    za = random_int8(rng, (*a.shape[:-1], 1), a.dtype)
    zb = random_int8(rng, (*b.shape[:-2], 1, b.shape[-1]), b.dtype)
    want = exactly(a, b, za.astype(int), zb.astype(int))
    for backend in ("cpu", "reference"):
        got = tersor.matmul_int8(a, b, a_zero_point=za, b_zero_point=zb, backend=backend)
        assert_identical(got, want.astype(np.int32))
    assert_identical(tersor.matmul_int8(a, b), np.matmul(a.astype(np.int32), b.astype(np.int32)))


@pytest.mark.parametrize(
    "shapes", [((5,), (5,)), ((5,), (5, 3)), ((4, 5), (5,)), ((2, 4, 5), (5,))]
)
def test_one_axis_as_in_numpy(backend, shapes):
    rng = np.random.default_rng(0)
    a, b = (random_int8(rng, shape) for shape in shapes)
    got = tersor.matmul_int8(a, b, backend=backend)
    want = exactly(a, b).astype(np.int32)
    assert type(got) is type(want)
    assert_identical(got, want)
    out = np.empty(want.shape, np.int32)
    assert tersor.matmul_int8(a, b, out=out, backend=backend) is out
    assert_identical(out, np.asarray(want))


@pytest.mark.parametrize("m, k, n", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0)])
def test_lengths_of_zero(backend, m, k, n):
    for shape in ((m, k), (2, m, k), (0, m, k)):
        got = tersor.matmul_int8(
            np.ones(shape, np.int8), np.ones((k, n), np.uint8), backend=backend
        )
        assert_identical(got, np.zeros((*shape[:-1], n), np.int32))


@pytest.mark.parametrize("shape", [(3, 5, 200, 70), (40, 3, 9)])
def test_large_batches(backend, shape):
    rng = np.random.default_rng(0)
    a = random_int8(rng, shape, np.int8)
    b = random_int8(rng, (*shape[:-2], shape[-1], 33), np.uint8)
    got = tersor.matmul_int8(a, b, b_zero_point=np.uint8(200), backend=backend)
    assert_identical(got, exactly(a, b, 0, 200).astype(np.int32))
    shared = b.reshape(-1, *b.shape[-2:])[:1]
    got = tersor.matmul_int8(a, shared, backend=backend)
    assert_identical(got, exactly(a, shared).astype(np.int32))


@pytest.mark.parametrize("dtypes", LARGEST_K)
def test_largest_k_of_int32_is_exact_and_one_more_raises(backend, dtypes):
    k = LARGEST_K[dtypes]
    a, b = (
        np.full((k + 1, 2), np.iinfo(d).min or np.iinfo(d).max, d)
        for d in map(np.dtype, dtypes.split())
    )
    want = exactly(a[:k].T, b[:k])
    assert np.abs(want).max() <= 2**31 - 1 < np.abs(want[0, 0] // k * (k + 1))
    assert_identical(tersor.matmul_int8(a[:k].T, b[:k], backend=backend), want.astype(np.int32))
    with pytest.raises(ValueError, match=f"k must be at most {k} for .*, got {k + 1}: pass out_dt"):
        tersor.matmul_int8(a.T, b, backend=backend)
    assert_identical(
        tersor.matmul_int8(a.T, b, out_dtype=np.int64, backend=backend), exactly(a.T, b)
    )


def test_zero_points_count_in_the_bound_of_k(backend):
    a = np.zeros((1, 33026), np.int8)
    options = {"a_zero_point": 127, "b_zero_point": np.int8(-128), "backend": backend}
    with pytest.raises(ValueError, match="k must be at most 33025 for int8 by int8"):
        tersor.matmul_int8(a, a.T, **options)
    got = tersor.matmul_int8(a[:, 1:], a[:, 1:].T, **options)
    assert_identical(got, np.array([[-127 * 128 * 33025]], np.int32))


def test_int64_beyond_int32(backend):
    rng = np.random.default_rng(0)
    a, b = np.full((3, 140_000), -128, np.int8), random_int8(rng, (140_000, 40), np.int8)
    b[:, 0] = -128
    zeros = {"a_zero_point": np.array([0, 127, -5], np.int8), "b_zero_point": 99}
    want = exactly(a, b, np.array([[0], [127], [-5]]), 99)
    assert np.abs(want).max() > 2**31
    got = tersor.matmul_int8(a, b, **zeros, out_dtype=np.int64, backend=backend)
    assert_identical(got, want)


def test_layouts_and_out(backend):
    rng = np.random.default_rng(0)
    a, b = random_int8(rng, (2, 100, 70), np.int8), random_int8(rng, (2, 70, 50), np.uint8)
    want = exactly(a, b).astype(np.int32)
    for name, view in layouts(a):
        for other, right in layouts(b):
            with unchanged(view, right), guarded(want.shape, np.int32) as out:
                assert tersor.matmul_int8(view, right, out=out, backend=backend) is out
                assert_identical(out, want), (name, other)
    for name, out in layouts(np.zeros_like(want)):
        if out.flags.writeable:
            assert tersor.matmul_int8(a, b, out=out, backend=backend) is out, name
            assert_identical(out, want)


def test_out_that_shares_memory_with_an_operand(backend):
    out = np.zeros((40, 40), np.int32)
    a = out.view(np.int8)[:, :40]
    a[...] = hostile("normal", (40, 40), np.int8)
    want = exactly(a, a).astype(np.int32)
    assert_identical(tersor.matmul_int8(a, a, out=out, backend=backend), want)


def test_same_bits_for_any_thread_count(threads):
    rng = np.random.default_rng(0)
    for m, k, n in [(3, 500, 2000), (500, 300, 700)]:
        a, b = random_int8(rng, (m, k)), random_int8(rng, (k, n))
        assert_identical(tersor.matmul_int8(a, b), exactly(a, b).astype(np.int32))


def node_cases(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other operators' cases overflow while they are made
        node = pytest.importorskip("onnx.backend.test.case.node")
        cases = [case for case in node.collect_testcases(None) if name in case.name]
    assert cases
    return [(case.name, *data) for case in cases for data in case.data_sets]


def test_onnx_matmulinteger_node_test(backend):
    for _, (a, b, za, zb), (want,) in node_cases("test_matmulinteger"):
        got = tersor.matmul_int8(a, b, a_zero_point=za, b_zero_point=zb, backend=backend)
        assert_identical(got, want)


def test_onnx_qlinearmatmul_node_tests(backend):
    for name, inputs, (want,) in node_cases("test_qlinearmatmul"):
        a, a_scale, za, b, b_scale, zb, scale, zero = inputs
        product = tersor.matmul_int8(a, b, a_zero_point=za, b_zero_point=zb, backend=backend)
        y = product * (np.float32(a_scale) * np.float32(b_scale))
        got = tersor.quantize_linear(y, np.float32(scale[0]), zero[0], backend=backend)
        np.testing.assert_array_equal(got, want, err_msg=name)


def test_onnxruntime_with_zero_points():
    ort, onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    rng = np.random.default_rng(0)
    a, b = random_int8(rng, (2, 9, 33), np.uint8), random_int8(rng, (33, 20), np.uint8)
    feeds = {"a": a, "b": b, "za": np.uint8(3), "zb": random_int8(rng, 20, np.uint8)}
    make = onnx.helper.make_tensor_value_info
    inputs = [make(name, onnx.TensorProto.UINT8, np.shape(x)) for name, x in feeds.items()]
    outputs = [make("y", onnx.TensorProto.INT32, None)]
    node = onnx.helper.make_node("MatMulInteger", list(feeds), ["y"])
    graph = onnx.helper.make_graph([node], "product", inputs, outputs)
    opset = [onnx.helper.make_opsetid("", 13)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)
    session = ort.InferenceSession(model.SerializeToString())
    (want,) = session.run(None, {name: np.asarray(x) for name, x in feeds.items()})
    got = tersor.matmul_int8(a, b, a_zero_point=feeds["za"], b_zero_point=feeds["zb"])
    assert_identical(got, want)


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(random_int8(rng, (32, 32), np.int8)) for _ in range(2))
    got = tersor.matmul_int8(a, b.T)
    assert got.dtype == torch.int32
    assert torch.equal(got, torch._int_mm(a, b.T))
    out = torch.empty(32, 32, dtype=torch.int32)
    tersor.matmul_int8(a, b.T, out=out)
    assert torch.equal(out, got)


def test_choice_of_the_micro_kernel():
    def best(features):
        return tiles_for(features)[0].name

    assert best("+avx2,+avx512bw,+avx512vnni,+avxvnni") == "avx512vnni"
    assert best("+avx2,-avx512vnni,+avxvnni") == "avxvnni"
    assert best("+avx2,+avx512bw,-avx512vnni") == "avx512bw"
    assert best("+sse2,+avx2,-avxvnni") == "avx2"
    assert best("+neon,+dotprod") == best("") == "portable"
    assert TILES["portable"] in tiles_for(host_features())


@pytest.mark.full
def test_plain_cpu_in_a_fresh_process(tmp_path):
    """Code for a CPU without any extension: what the vectors are split to there is right too."""
    code = """if True:
        import numpy as np, tersor
        from tersor_kernels.cpu import matmul_int8
        assert matmul_int8.TILE.name == "portable"
        rng = np.random.default_rng(0)
        a = rng.integers(-128, 128, (37, 300), np.int8)
        b = rng.integers(0, 256, (300, 41), np.uint8)
        assert (tersor.matmul_int8(a, b) == a.astype(int) @ b.astype(int)).all()
    """
    env = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    env["PYTHONPATH"] = ":".join(sys.path)
    subprocess.run([sys.executable, "-c", code], env=env, check=True)


A = np.zeros((2, 3), np.int8)
ERRORS = [
    (TypeError, (A.astype(np.int16), A.T), {}, "a must be int8 or uint8, got int16"),
    (TypeError, (A, [[1], [2], [3]]), {}, "b must be int8 or uint8, got int64"),
    (TypeError, (A.view(bool), A.T), {}, "a must be int8 or uint8, got bool"),
    (TypeError, (tersor.quantize(A), A), {}, "a must be int8 or uint8, got a QuantizedArray: pass"),
    (TypeError, (A, A.T), {"a_zero_point": True}, "a_zero_point must be integer, got bool"),
    (TypeError, (A, A.T), {"out": [[0]]}, "out must be an array, got list"),
    (TypeError, (A, A.T), {"out_dtype": None}, "out_dtype must be int32 or int64, got None"),
    (ValueError, (np.int8(1), A), {}, "a must have at least one axis"),
    (ValueError, (A, A), {}, "a and b must agree in k: a has 3, b has 2"),
    (ValueError, (A, A[0, :2]), {}, "a and b must agree in k: a has 3, b has 2"),
    (
        ValueError,
        (np.zeros((2, 2, 3), np.int8), np.zeros((3, 3, 2), np.int8)),
        {},
        r"leading axes must broadcast: a has \(2,\), b has \(3,\)",
    ),
    (TypeError, (A, A.T), {"out_dtype": np.float32}, "out_dtype must be int32 or int64, got"),
    (TypeError, (A, A.T), {"out_dtype": "what"}, "out_dtype must be int32 or int64, got 'what'"),
    (TypeError, (A, A.T), {"out": np.empty((2, 2))}, "out must have dtype int32, got float64"),
    (
        ValueError,
        (A, A.T),
        {"out": np.empty((2, 3), np.int32)},
        r"out must have shape \(2, 2\), got \(2, 3\)",
    ),
    (TypeError, (A, A.T), {"a_zero_point": 0.5}, "a_zero_point must be integer, got float64"),
    (
        ValueError,
        (A, A.T),
        {"a_zero_point": 128},
        r"a_zero_point must be in -128\.\.127 for int8, got 128",
    ),
    (
        ValueError,
        (A, A.T),
        {"b_zero_point": [0, -129]},
        r"b_zero_point must be in -128\.\.127 for int8, got -129",
    ),
    (
        ValueError,
        (A, A.T),
        {"a_zero_point": [1, 2, 3]},
        r"a_zero_point must be one number, \(2,\) or \(2, 1\), got \(3,\)",
    ),
    (
        ValueError,
        (A, np.zeros((4, 3, 5), np.int8)),
        {"b_zero_point": [[1, 2, 3, 4, 5]] * 2},
        r"b_zero_point must be one number, \(5,\) or \(4, 1, 5\), got \(2, 5\)",
    ),
    (
        ValueError,
        (A, A.T),
        {"a_zero_point": np.zeros((1, 2, 1), np.int8)},
        r"a_zero_point must be one number, \(2,\) or \(2, 1\), got \(1, 2, 1\)",
    ),
]


@pytest.mark.parametrize("error, args, options, message", ERRORS)
def test_errors(backend, error, args, options, message):
    with pytest.raises(error, match=message):
        tersor.matmul_int8(*args, **options, backend=backend)
