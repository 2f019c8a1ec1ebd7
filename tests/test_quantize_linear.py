"""ONNX's operators: against ONNX's own node tests, its reference and onnxruntime."""

import warnings
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tersor
from tersor.testing import assert_identical, guarded, hostile, layouts

onnx = pytest.importorskip("onnx")
ml_dtypes = pytest.importorskip("ml_dtypes")

OPERATORS = {
    "QuantizeLinear": "quantize_linear",
    "DequantizeLinear": "dequantize_linear",
    "DynamicQuantizeLinear": "dynamic_quantize_linear",
}
OUR_DTYPES = "uint8 int8 uint16 int16 uint4 int4 int32 float32 float16".split()
RANGES = {"int8": 128, "uint8": 0, "int16": 2**15, "uint16": 0, "int4": 8, "uint4": 0}


@cache
def node_cases():
    """Name -> (operator, attributes, inputs, outputs) of the node tests on dtypes that we have."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(action="ignore"):  # of other operators' tests
        cases = load_model_tests(kind="node")
    found = {}
    for case in cases:
        node = case.model.graph.node[0]
        if node.op_type not in OPERATORS or "_expanded" in case.name:
            continue
        sides = [
            [
                onnx.numpy_helper.to_array(a) if isinstance(a, onnx.TensorProto) else np.asarray(a)
                for a in side
            ]
            for side in case.data_sets[0]
        ]
        if all(a.dtype.name in OUR_DTYPES for side in sides for a in side):
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            found[case.name] = node.op_type, attributes, *sides
    return found


NAMES = """
dequantizelinear dequantizelinear_axis dequantizelinear_blocked dequantizelinear_int16
dequantizelinear_int4 dequantizelinear_uint16 dequantizelinear_uint4 dynamicquantizelinear
dynamicquantizelinear_max_adjusted dynamicquantizelinear_min_adjusted quantizelinear
quantizelinear_axis quantizelinear_blocked_asymmetric quantizelinear_blocked_symmetric
quantizelinear_int16 quantizelinear_int4 quantizelinear_uint16 quantizelinear_uint4
""".split()


@pytest.mark.parametrize("name", NAMES)
def test_node_tests_of_onnx(backend, name):
    if backend == "cuda" and name.endswith("int4"):
        pytest.skip("CuPy has no int4 arrays")
    operator, attributes, inputs, outputs = node_cases()[f"test_{name}"]
    if "output_dtype" in attributes:
        number = attributes["output_dtype"]
        attributes = attributes | {"output_dtype": onnx.helper.tensor_dtype_to_np_dtype(number)}
    got = getattr(tersor, OPERATORS[operator])(*inputs, **attributes, backend=backend)
    got = got if isinstance(got, tuple) else (got,)
    for ours, want in zip(got, outputs, strict=True):
        assert_identical(ours, want)


def test_python_ints_are_zero_points(backend):
    x, options = hostile("normal", (3, 4)), {"axis": 0, "backend": backend}
    for zero, dtype in ((0, None), (7, "int8"), (-300, "int16"), (3, "uint4")):
        if backend == "cuda" and dtype == "uint4":
            with pytest.raises(TypeError, match="CuPy has no uint4 arrays"):
                tersor.quantize_linear(x, 0.1, zero, output_dtype=dtype, backend=backend)
            continue
        integer = np.dtype(getattr(ml_dtypes, dtype) if dtype == "uint4" else dtype or "uint8")
        got = tersor.quantize_linear(x, 0.1, zero, output_dtype=dtype, backend=backend)
        want = tersor.quantize_linear(x, 0.1, np.array(zero).astype(integer), backend=backend)
        assert_identical(got, want)
        back = tersor.dequantize_linear(got, 0.1, zero, backend=backend)
        zero = np.array(zero).astype(integer)
        assert_identical(back, tersor.dequantize_linear(got, 0.1, zero, backend=backend))
    several = tersor.quantize_linear(x, [1, 2, 3], [0, 1, 2], **options)
    want = tersor.quantize_linear(x, np.array([1.0, 2, 3]), np.uint8([0, 1, 2]), **options)
    assert_identical(several, want)
    with pytest.raises(ValueError, match=r"zero_point must be in -128\.\.127 for int8, got 200"):
        tersor.dequantize_linear(np.int8([1]), 1.0, 200)


def granularities(shape):
    yield {}, ()
    for axis in range(len(shape)):
        yield {"axis": axis}, (shape[axis],)
        for block_size in (1, 3):
            scales = (*shape[:axis], -(-shape[axis] // block_size), *shape[axis + 1 :])
            yield {"axis": axis, "block_size": block_size}, scales


def parameters(rng, dtype, shape):
    low = -RANGES[dtype]
    zero = rng.integers(low, low + 2 ** int(dtype.lstrip("uint")), shape)
    storage = getattr(ml_dtypes, dtype) if dtype.endswith("t4") else dtype
    scale = rng.choice([0.25, 0.3, 1.0, 7.0], shape).astype(np.float32)
    return scale, np.asarray(zero).astype(storage)


def spread(a, shape, axis=1, block_size=0):
    if a.ndim == 0:
        return np.broadcast_to(a, shape)
    if block_size:
        return np.repeat(a, block_size, axis).take(range(shape[axis]), axis)
    return np.broadcast_to(np.expand_dims(a, [i for i in range(len(shape)) if i != axis]), shape)


@pytest.mark.parametrize("dtype", RANGES)
def test_every_dtype_and_granularity(backend, dtype):
    if backend == "cuda" and dtype.endswith("int4"):
        pytest.skip("CuPy has no int4 arrays")
    rng = np.random.default_rng(3)
    x = hostile("normal", (5, 7)) * 2 ** int(dtype.lstrip("uint"))
    x[0, :4] = [0.5, 1.5, -0.5, 1e30]
    low = -RANGES[dtype]
    high = low + 2 ** int(dtype.lstrip("uint")) - 1
    for options, shape in granularities(x.shape):
        scale, zero = parameters(rng, dtype, shape)
        got = tersor.quantize_linear(x, scale, zero, **options, backend=backend)
        wide = [spread(a.astype(np.float32), x.shape, **options) for a in (scale, zero)]
        want = np.clip(np.rint(x / wide[0]) + wide[1], low, high)
        assert_identical(got, want.astype(zero.dtype))
        back = tersor.dequantize_linear(got, scale, zero, **options, backend=backend)
        assert_identical(back, (want.astype(np.float32) - wide[1]) * wide[0])
        plain = tersor.quantize_linear(x, scale, output_dtype=dtype, **options, backend=backend)
        want = np.clip(np.rint(x / wide[0]), low, high)
        assert_identical(plain, want.astype(zero.dtype))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
def test_onnxruntime_gives_the_same(dtype):
    ort = pytest.importorskip("onnxruntime")
    helper, proto = onnx.helper, onnx.TensorProto
    rng = np.random.default_rng(4)
    x = hostile("normal", (6, 8)) * 2 ** int(dtype.lstrip("uint"))
    x[0, :4] = [np.inf, -np.inf, 2.5, -0.5]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    for options, shape in [({}, ()), ({"axis": 0}, (6,)), ({"axis": 1}, (8,)),
                           ({"axis": 1, "block_size": 4}, (6, 2))]:  # fmt: skip
        scale, zero = parameters(rng, dtype, shape)
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **options),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **options),
        ]
        graph = helper.make_graph(
            nodes, "there_and_back",
            [helper.make_tensor_value_info("x", proto.FLOAT, x.shape),
             helper.make_tensor_value_info("s", proto.FLOAT, shape),
             helper.make_tensor_value_info("z", kind, shape)],
            [helper.make_tensor_value_info("q", kind, x.shape),
             helper.make_tensor_value_info("y", proto.FLOAT, x.shape)],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        session_options = ort.SessionOptions()
        session_options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(
            model.SerializeToString(), session_options, providers=["CPUExecutionProvider"]
        )
        q, y = session.run(None, {"x": x, "s": scale, "z": zero})
        assert_identical(tersor.quantize_linear(x, scale, zero, **options), q)
        assert_identical(tersor.dequantize_linear(q, scale, zero, **options), y)


def test_onnxruntime_quantizes_dynamically_as_we_do():
    ort = pytest.importorskip("onnxruntime")
    helper, proto = onnx.helper, onnx.TensorProto
    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])
    graph = helper.make_graph(
        [node], "dynamic", [helper.make_tensor_value_info("x", proto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", proto.UINT8, ["n"]),
         helper.make_tensor_value_info("s", proto.FLOAT, []),
         helper.make_tensor_value_info("z", proto.UINT8, [])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for kind in ("normal", "ties", "constant", "leading_bits", "zeros", "ascending"):
        for shift in (0, 3, -3):
            x = hostile(kind, 1000) + np.float32(shift)
            for ours, theirs in zip(
                tersor.dynamic_quantize_linear(x), session.run(None, {"x": x}), strict=True
            ):
                assert_identical(ours, np.asarray(theirs))


def test_nan_gives_the_zero_point(backend):
    x = np.array([np.nan, 1, -np.inf], np.float32)
    got = tersor.quantize_linear(x, 1.0, np.int8(7), backend=backend)
    assert got.tolist() == [7, 8, -128]
    y, scale, zero = tersor.dynamic_quantize_linear([np.nan, 255.0, -255.0], backend=backend)
    assert y.tolist() == [int(zero), 255, 0] and scale == 2
    y, scale, zero = tersor.dynamic_quantize_linear(np.zeros((0, 3)), backend=backend)
    assert y.shape == (0, 3) and (scale, zero) == (1, 0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes_of_floats(backend, dtype):
    dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    x, scale = hostile("normal", (3, 5), dtype) * dtype.type(20), dtype.type(0.7)
    wide = np.float64 if dtype == np.float64 else np.float32
    want = np.clip(np.rint(x.astype(wide) / wide(scale)), -128, 127).astype(np.int8)
    got = tersor.quantize_linear(x, scale, output_dtype="int8", backend=backend)
    assert_identical(got, want)
    back = tersor.dequantize_linear(got, scale, backend=backend)
    assert_identical(back, (want.astype(wide) * wide(scale)).astype(dtype))
    wider = tersor.dequantize_linear(got, scale, output_dtype="float64", backend=backend)
    assert_identical(wider, want * np.float64(scale))


def test_int32_layouts_byte_order_and_out(backend):
    q = np.arange(-12, 12, dtype=np.int32).reshape(4, 6) * 100003
    scale = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    want = q.astype(np.float32) * scale[:, None]
    for _, view in layouts(q):
        assert_identical(tersor.dequantize_linear(view, scale, axis=0, backend=backend), want)
    swapped = q.astype(">i4")
    assert_identical(tersor.dequantize_linear(swapped, scale, axis=-2, backend=backend), want)
    with guarded((4, 6), np.float32) as out:
        got = tersor.dequantize_linear(q, scale, axis=0, out=out, backend=backend)
        assert got is out
    assert_identical(out, want)
    with guarded((4, 6), np.int16) as out:
        zero = np.zeros(4, np.int16)
        assert tersor.quantize_linear(want, scale, zero, axis=0, out=out, backend=backend) is out
    assert_identical(out, np.clip(q, -(2**15), 2**15 - 1).astype(np.int16))


X, Q = np.ones((3, 4), np.float32), np.ones((3, 4), np.uint8)


@pytest.mark.parametrize(
    "arguments, options, error, message",
    [
        ((X, 0.0), {}, ValueError, "scale must be positive and finite, got 0.0"),
        ((X, np.nan), {}, ValueError, "scale must be positive and finite, got nan"),
        ((X, True), {}, TypeError, "scale must be floats or integers, got bool"),
        ((X, 1j), {}, TypeError, "scale must be float16, .* got complex128"),
        ((X, [1.0] * 3), {}, ValueError, r"scale must have shape \(\) or \(4,\), got \(3,\)"),
        ((X, [1.0] * 4), {"axis": 2}, ValueError, r"axis must be in -2..1"),
        (
            (X, [1.0] * 4),
            {"block_size": 2},
            ValueError,
            r"scale must have shape \(3, 2\), got \(4,\)",
        ),
        ((X, 1.0), {"block_size": -1}, ValueError, r"block_size must be in 0\.\.2\*\*63-1, got -1"),
        ((X, 1.0), {"block_size": 2.0}, TypeError, "block_size must be an int, got 2.0"),
        ((X, 1.0, np.int8([1, 1])), {}, ValueError, r"zero_point must have shape \(\), got \(2,\)"),
        ((X, 1.0, 1.0), {}, TypeError, r"zero_point must be one of int8, .*, got float64"),
        ((X, 1.0, np.int8(1)), {"output_dtype": "uint8"}, TypeError, "must be that of zero_point"),
        (
            (X, 1.0),
            {"output_dtype": "float32"},
            TypeError,
            "output_dtype must be one of int8, uint8",
        ),
        ((X, 1.0, np.int32(0)), {}, TypeError, r"zero_point must be one of int8, .*, got int32"),
        ((X, 1.0, 300), {}, ValueError, r"zero_point must be in 0\.\.255 for uint8, got 300"),
        (
            (X, 1.0, [-129]),
            {"output_dtype": "int8"},
            ValueError,
            r"in -128\.\.127 for int8, got -1",
        ),
        ((X, 1.0, True), {}, TypeError, "zero_point must be one of int8, .*, got bool"),
        ((X, [1.0] * 4), {"axis": True}, TypeError, "axis must be an int, got True"),
        (
            (1.0, [1.0, 2.0]),
            {"axis": 0},
            ValueError,
            "x must have at least one dimension for axis=0",
        ),
        ((X, 1.0), {"out": [[1]]}, TypeError, "out must be an array, got list"),
        ((X, 1.0), {"saturate": False}, ValueError, "saturate must be True, got False"),
        ((X, 1.0), {"out": np.empty((3, 4), np.int8)}, TypeError, "out must have dtype uint8"),
        ((X, 1.0), {"out": np.empty((4, 3), np.uint8)}, ValueError, "out must have shape"),
    ],
)
def test_errors_of_quantize_linear(arguments, options, error, message):
    with pytest.raises(error, match=message):
        tersor.quantize_linear(*arguments, **options)


@pytest.mark.parametrize(
    "arguments, options, error, message",
    [
        ((X, 1.0), {}, TypeError, r"x must be one of int8, .*, got float32"),
        (
            (Q, 1.0, np.int8(1)),
            {},
            TypeError,
            "zero_point must have the dtype of x, uint8, got int8",
        ),
        ((Q, 1.0), {"output_dtype": "int8"}, TypeError, "output_dtype must be one of float16"),
        ((Q, 1.0), {"out": np.empty(3)}, ValueError, "out must have shape"),
    ],
)
def test_errors_of_dequantize_linear(arguments, options, error, message):
    with pytest.raises(error, match=message):
        tersor.dequantize_linear(*arguments, **options)


def test_errors_of_dynamic_quantize_linear():
    with pytest.raises(ValueError, match="x must be finite"):
        tersor.dynamic_quantize_linear([1.0, np.inf])
    with pytest.raises(ValueError, match="range whose 255th part is a float32"):
        tersor.dynamic_quantize_linear(np.array([3e38, -3e38], np.float32))


def test_out_is_written_directly_or_through_a_copy(backend):
    x = hostile("normal", (6, 8)) * 50
    want = tersor.quantize_linear(x, 0.3, 7, output_dtype="int8", backend=backend)
    strided = np.zeros((12, 8), np.int8)[::2]
    over = x.copy()
    for out in (strided, over.view(np.int8)[:, 24:]):  # what is written first is still to be read
        source = over if out.base is over else x
        got = tersor.quantize_linear(source, 0.3, 7, output_dtype="int8", out=out, backend=backend)
        assert got is out
        assert_identical(out, want)


FLOATS = st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=False)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_operators_follow_their_formulas(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=7))
    x = data.draw(hnp.arrays(np.float32, shape, elements=FLOATS))
    dtype = data.draw(st.sampled_from(["int8", "uint8", "int16", "uint16"]))
    options, scales = data.draw(st.sampled_from(list(granularities(shape))))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    scale, zero = parameters(rng, dtype, scales)
    scale *= np.float32(2.0 ** data.draw(st.integers(-70, 70)))
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    wide = [spread(a.astype(np.float32), x.shape, **options) for a in (scale, zero)]
    with np.errstate(over="ignore"):
        want = np.clip(np.rint(x / wide[0]) + wide[1], low, high)
    got = tersor.quantize_linear(x, scale, zero, **options)
    assert_identical(got, want.astype(dtype))
    back = tersor.dequantize_linear(got, scale, zero, **options)
    assert_identical(back, (want.astype(np.float32) - wide[1]) * wide[0])


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=2, max_side=9), elements=FLOATS))
def test_dynamic_quantization_holds_every_value(x):
    if x.any() and np.ptp(np.append(x, 0)) < 2.0**-100:
        return  # its 255th part has few bits
    y, scale, zero = tersor.dynamic_quantize_linear(x)
    assert scale > 0 and y.shape == x.shape
    back = tersor.dequantize_linear(y, scale, zero).astype(np.float64)
    assert (np.abs(back - x) <= float(scale) * (1 + 2**-10)).all()
    for ours, theirs in zip(
        (y, scale, zero), tersor.dynamic_quantize_linear(x, backend="reference"), strict=True
    ):
        assert_identical(ours, theirs)
