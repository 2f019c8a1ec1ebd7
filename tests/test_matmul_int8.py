import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tersor
from tersor.testing import assert_identical, guarded, hostile, layouts, unchanged
from tersor_kernels.cpu import matmul_int8 as cpu
from tersor_kernels.cpu._gemm_tiles import TILES, tiles_for
from tersor_kernels.cpu._ir import features as host_features

HERE = [tile.name for tile in tiles_for(host_features())]

DTYPES = [np.int8, np.uint8]
LARGEST_K = {"int8 int8": 131071, "uint8 int8": 65793, "int8 uint8": 65793, "uint8 uint8": 33025}
# "cpu" is the best for this CPU; each other takes seconds to compile.
QUICK = ["avx2", "portable"]
VARIANTS = [
    "reference",
    "cpu",
    *(pytest.param(t, marks=() if t in QUICK else pytest.mark.full) for t in HERE),
]


@pytest.fixture(params=VARIANTS)
def variant(request, monkeypatch):
    """The name of a backend, "cpu" with each of its micro-kernels."""
    if request.param not in TILES:
        return request.param
    monkeypatch.setattr(cpu, "TILE", TILES[request.param])
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


def onnx_model(op, inputs, output):
    """A model of one operator as its bytes, for inputs of these names and values."""
    onnx = pytest.importorskip("onnx")
    make, dtypes = onnx.helper, onnx.helper.np_dtype_to_tensor_dtype
    graph = make.make_graph(
        [make.make_node(op, list(inputs), ["y"])],
        "product",
        [make.make_tensor_value_info(name, dtypes(x.dtype), x.shape) for name, x in inputs.items()],
        [make.make_tensor_value_info("y", dtypes(np.dtype(output)), None)],
    )
    opset = [make.make_opsetid("", 21)]
    return make.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


# Zero points as the operator's text has them, for a of (2, 9, 33) or (9, 33).
ZERO_POINTS = {
    "none": lambda x, axis: None,
    "scalar": lambda x, axis: (),
    "one": lambda x, axis: (1,),
    "vector": lambda x, axis: (x.shape[-3 - axis],),
    "matrices": lambda x, axis: tuple(
        1 if i == x.ndim + axis else n for i, n in enumerate(x.shape)
    ),
}


@pytest.mark.parametrize("kinds", [(a, b) for a in ZERO_POINTS for b in ZERO_POINTS], ids="-".join)
@pytest.mark.parametrize("dtypes", [(a, b) for a in DTYPES for b in DTYPES])
@pytest.mark.parametrize("leading", [(), (2,)])
def test_every_variant_of_onnx_matmulinteger(backend, leading, dtypes, kinds):
    evaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator
    onnx = pytest.importorskip("onnx")
    rng = np.random.default_rng(0)
    a, b = (
        random_int8(rng, (*leading, *s), d)
        for s, d in zip([(9, 33), (33, 20)], dtypes, strict=True)
    )
    shapes = [
        ZERO_POINTS[kind](x, axis) for kind, x, axis in zip(kinds, (a, b), (-1, -2), strict=True)
    ]
    za, zb = (
        None if shape is None else np.asarray(random_int8(rng, shape, x.dtype))
        for shape, x in zip(shapes, (a, b), strict=True)
    )
    zeros = [
        np.zeros((), x.dtype) if z is None else z for z, x in zip((za, zb), (a, b), strict=True)
    ]
    if kinds[0] == "vector":  # which the evaluator would subtract from columns
        zeros[0] = za[:, None]
    names = ["a", "b", "za", "zb"]
    feeds = dict(zip(names, (a, b, *zeros), strict=True))
    model = onnx.load_from_string(onnx_model("MatMulInteger", feeds, np.int32))
    (want,) = evaluator(model).run(None, feeds)
    got = tersor.matmul_int8(a, b, a_zero_point=za, b_zero_point=zb, backend=backend)
    assert_identical(got, want)


@pytest.mark.parametrize("scale_dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("dtypes", [(a, b, y) for a in DTYPES for b in DTYPES for y in DTYPES])
def test_every_variant_of_onnx_qlinearmatmul(backend, dtypes, scale_dtype):
    """Of 8 bits: the operator takes floats of 8 bits too, which are no integers."""
    scale_dtype = tersor._quantized.float_dtype(scale_dtype, "dtype")
    rng = np.random.default_rng(0)
    a, b = random_int8(rng, (2, 9, 33), dtypes[0]), random_int8(rng, (2, 33, 20), dtypes[1])
    for per_row in (False, True):
        za = random_int8(rng, (2, 9, 1) if per_row else (), a.dtype)
        zb = random_int8(rng, (2, 1, 20) if per_row else (), b.dtype)
        zy = random_int8(rng, (), dtypes[2])
        sa = np.asarray(0.01 + 0.01 * rng.random(za.shape if per_row else ()), scale_dtype)
        sb = np.asarray(0.01 + 0.01 * rng.random(zb.shape if per_row else ()), scale_dtype)
        sy = np.asarray(0.3, scale_dtype)
        product = tersor.matmul_int8(a, b, a_zero_point=za, b_zero_point=zb, backend=backend)
        y = product * sa.astype(np.float64) * sb.astype(np.float64)
        got = tersor.quantize_linear(y, sy.astype(np.float64), np.asarray(zy), backend=backend)
        # the operator's definition in exact arithmetic
        exact = exactly(a, b, za.astype(int), zb.astype(int)) * sa.astype(float) * sb.astype(float)
        limits = np.iinfo(dtypes[2])
        want = np.clip(np.rint(exact / sy.astype(float)) + int(zy), limits.min, limits.max)
        assert_identical(got, want.astype(dtypes[2]))


@pytest.mark.parametrize("dtypes", [(np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8)])
def test_onnxruntime_with_zero_points(dtypes):
    """Which has no int8 by uint8; as uint8 by int8 it saturates on some CPUs: values are halved."""
    ort = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    a, b = random_int8(rng, (2, 9, 33), dtypes[0]), random_int8(rng, (33, 20), dtypes[1]) // 2
    feeds = {"a": a, "b": b, "za": np.asarray(dtypes[0](3)), "zb": random_int8(rng, 20, dtypes[1])}
    session = ort.InferenceSession(onnx_model("MatMulInteger", feeds, np.int32))
    (want,) = session.run(None, feeds)
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
        return tiles_for(features.split(","))[0].name

    assert best("+avx2,+avx512bw,+avx512vnni,+avxvnni") == "avx512vnni"
    assert best("+avx2,-avx512vnni,+avxvnni") == "avxvnni"
    assert best("+avx2,+avx512bw,-avx512vnni") == "avx512bw"
    assert best("+sse2,+avx2,-avxvnni") == "avx2"
    assert best("+neon,+dotprod") == "sdot"
    assert best("+neon") == best("") == "portable"
    assert TILES["portable"] in tiles_for(host_features())


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
