"""Cases of int8 products and of linear layers with int8 weights: m, k, n."""

import warnings

import numpy as np

import tersor

from ..case import Case, optional


def _matrices(shape, dtype, rng):
    m, k, n = shape
    return tuple(rng.integers(-128, 128, size, dtype) for size in ((m, k), (k, n)))


def _ours(operands):
    a, b = operands
    return lambda: tersor.matmul_int8(a, b)


def _numpy_float32(operands):
    a, b = (x.astype(np.float32) for x in operands)
    return lambda: a @ b


def _session(node, inputs, constants, shape):
    """A call of onnxruntime for one node, with x of the type and `shape`; None without it."""
    onnx, ort = optional("onnx"), optional("onnxruntime")
    if onnx is None or ort is None:
        return None
    name, kind = inputs
    make, types = onnx.helper, onnx.TensorProto
    y = types.INT32 if kind == "INT8" else types.FLOAT
    graph = make.make_graph(
        [node(make.make_node)],
        "product",
        [make.make_tensor_value_info(name, getattr(types, kind), shape)],
        [make.make_tensor_value_info("y", y, None)],
        [onnx.numpy_helper.from_array(x, key) for key, x in constants.items()],
    )
    opsets = [make.make_opsetid("", 13), make.make_opsetid("com.microsoft", 1)]
    model = make.make_model(graph, opset_imports=opsets, ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = tersor.get_num_threads()
    session = ort.InferenceSession(model.SerializeToString(), options)
    return lambda x: session.run(None, {name: x})[0]


def _onnxruntime(operands):
    a, b = operands
    session = _session(
        lambda node: node("MatMulInteger", ["a", "b"], ["y"]), ("a", "INT8"), {"b": b}, a.shape
    )
    return session and (lambda: session(a))


def _torch(operands):
    torch = optional("torch")
    if torch is None:
        return None
    a, b = map(torch.from_numpy, operands)
    return lambda: torch._int_mm(a, b)


def _check(operands, result):
    a, b = (x.astype(np.float64) for x in operands)
    np.testing.assert_array_equal(np.asarray(result), a @ b)


def _layer(shape, dtype, rng):
    m, k, n = shape
    x, w = (rng.standard_normal(size).astype(dtype) for size in ((m, k), (n, k)))
    return x, w


def _quantized(w, dtype):
    if dtype == "int4":
        return tersor.quantize(w, dtype="int4", block_size=_BLOCK)
    return tersor.quantize(w, axis=0)


def _ours_linear(dtype, activations):
    def setup(operands):
        x, w = operands
        packed = tersor.PackedInt8(_quantized(w, dtype))
        return lambda: tersor.linear_int8(x, packed, activations=activations)

    return setup


def _onnxruntime_linear(operands):
    x, w = operands
    q = _quantized(w, "int8")
    session = _session(
        lambda node: node(
            "DynamicQuantizeMatMul", ["x", "b", "scale"], ["y"], domain="com.microsoft"
        ),
        ("x", "FLOAT"),
        {"b": np.ascontiguousarray(q.data.T), "scale": q.scale},
        x.shape,
    )
    return session and (lambda: session(x))


def _onnxruntime_int4(operands):
    x, w = operands
    n, k = w.shape
    q = _quantized(w, "int4")
    blocks = (q.data ^ 0x88).reshape(n, -1, _BLOCK // 2)  # it wants 0..15, 8 standing for 0
    options = {"K": k, "N": n, "bits": 4, "block_size": _BLOCK, "accuracy_level": 4}
    session = _session(
        lambda node: node(
            "MatMulNBits", ["x", "b", "scale"], ["y"], domain="com.microsoft", **options
        ),
        ("x", "FLOAT"),
        {"b": blocks, "scale": q.scale.reshape(-1)},
        x.shape,
    )
    return session and (lambda: session(x))


def _numpy_linear(operands):
    x, w = operands
    return lambda: x @ w.T


def _torch_dynamic(operands):
    torch = optional("torch")
    if torch is None:
        return None
    x, w = map(torch.from_numpy, operands)
    linear = torch.nn.Linear(*w.T.shape, bias=False)
    linear.weight.data = w
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated
        layer = torch.ao.quantization.quantize_dynamic(
            torch.nn.Sequential(linear), {torch.nn.Linear}, dtype=torch.qint8
        )

    def call():
        with torch.no_grad():
            return layer(x)

    return call


def _error(operands, result):
    """Root of the mean square of the error over that of the product in float64."""
    x, w = (part.astype(np.float64) for part in operands)
    rows = slice(None, None, max(1, len(x) // 64))
    want = x[rows] @ w.T
    return float(np.sqrt(np.mean((np.asarray(result)[rows] - want) ** 2) / np.mean(want**2)))


def _check_linear(most):
    def check(operands, result):
        error = _error(operands, result)
        assert error < most, f"an error of {error:.3f}"

    return check


_BLOCK = 32
_SHAPES = tuple((m, 4096, 4096) for m in (1, 8, 64, 512, 4096))
_LINEAR = (
    (
        "int8",
        8,
        {
            "tersor": _ours_linear("int8", "int8"),
            "tersor float": _ours_linear("int8", "float"),
            "numpy float32": _numpy_linear,
            "torch dynamic": _torch_dynamic,
            "onnxruntime": _onnxruntime_linear,
        },
    ),
    (
        "int4",
        4 + 32 // _BLOCK,
        {
            "tersor": _ours_linear("int4", "int8"),
            "tersor float": _ours_linear("int4", "float"),
            "numpy float32": _numpy_linear,
            "onnxruntime": _onnxruntime_int4,
        },
    ),
)

CASES = (
    *(
        Case(
            op="matmul_int8.matmul_int8",
            shape=shape,
            toy=(17, 32, 16),
            dtype="int8",
            inputs=_matrices,
            contenders={
                "tersor": _ours,
                "numpy float32": _numpy_float32,
                "onnxruntime": _onnxruntime,
                "torch": _torch,
            },
            bytes=lambda shape, itemsize: (
                shape[0] * shape[1] + shape[1] * shape[2] + 4 * shape[0] * shape[2]
            ),
            check=_check,
            flops=lambda shape: 2 * shape[0] * shape[1] * shape[2],
            inexact={"numpy float32": "float32 is exact up to 2**24 only"},
        )
        for shape in (
            (1, 64, 64),
            (32, 64, 64),
            (32, 2048, 2048),
            (256, 256, 256),
            (1024, 1024, 1024),
            *_SHAPES,
        )
    ),
    *(
        Case(
            op=f"matmul_int8.linear_int8({dtype})",
            shape=shape,
            toy=(3, 64, 16),
            dtype="float32",
            inputs=_layer,
            contenders=contenders,
            bytes=lambda shape, itemsize, bits=bits: (
                itemsize * shape[0] * (shape[1] + shape[2]) + shape[1] * shape[2] * bits // 8
            ),
            check=_check_linear(0.04 if dtype == "int8" else 0.2),
            flops=lambda shape: 2 * shape[0] * shape[1] * shape[2],
            error=_error,
        )
        for dtype, bits, contenders in _LINEAR
        for shape in ((32, 64, 64), (256, 768, 3072), *_SHAPES)
    ),
)
