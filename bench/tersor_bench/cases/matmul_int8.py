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


def _onnxruntime(operands):
    onnx, ort = optional("onnx"), optional("onnxruntime")
    if onnx is None or ort is None:
        return None
    a, b = operands
    make, types = onnx.helper, onnx.TensorProto
    graph = make.make_graph(
        [make.make_node("MatMulInteger", ["a", "b"], ["y"])],
        "product",
        [make.make_tensor_value_info("a", types.INT8, a.shape)],
        [make.make_tensor_value_info("y", types.INT32, None)],
        [onnx.numpy_helper.from_array(b, "b")],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=9)
    session = ort.InferenceSession(model.SerializeToString())
    return lambda: session.run(None, {"a": a})[0]


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


def _ours_linear(activations):
    def setup(operands):
        x, w = operands
        packed = tersor.PackedInt8(tersor.quantize(w, axis=0))
        return lambda: tersor.linear_int8(x, packed, activations=activations)

    return setup


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


def _check_linear(operands, result):
    x, w = operands
    error = np.asarray(result) - x @ w.T
    assert np.sqrt(np.mean(error**2)) < 0.03 * np.sqrt(x.shape[1]), "too far from the float product"


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
        for shape in ((1024, 1024, 1024), (32, 2048, 2048))
    ),
    *(
        Case(
            op="matmul_int8.linear_int8",
            shape=shape,
            toy=(3, 32, 16),
            dtype="float32",
            inputs=_layer,
            contenders={
                "tersor": _ours_linear("int8"),
                "tersor float": _ours_linear("float"),
                "numpy float32": _numpy_linear,
                "torch dynamic": _torch_dynamic,
            },
            bytes=lambda shape, itemsize: (
                itemsize * shape[0] * (shape[1] + shape[2]) + shape[1] * shape[2]
            ),
            check=_check_linear,
            flops=lambda shape: 2 * shape[0] * shape[1] * shape[2],
        )
        for shape in ((1, 4096, 4096), (256, 768, 3072))
    ),
)
