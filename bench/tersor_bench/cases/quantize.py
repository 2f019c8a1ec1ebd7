"""Cases of quantization."""

import warnings

import numpy as np

import tersor

from ..case import Case, optional

_SCALE = np.float32(0.03)


def _normal(shape, dtype, rng):
    return rng.standard_normal(shape).astype(dtype)


def _onnx_session(operator, x, output):
    """A call of one ONNX operator by onnxruntime, with _SCALE and an int8 zero point of 0."""
    ort, onnx = optional("onnxruntime"), optional("onnx")
    if ort is None or onnx is None:
        return None
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    kinds = [helper.np_dtype_to_tensor_dtype(np.dtype(d)) for d in (x.dtype, output)]
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "scale", "zero"], ["y"])],
        operator,
        [helper.make_tensor_value_info("x", kinds[0], x.shape)],
        [helper.make_tensor_value_info("y", kinds[1], x.shape)],
        [
            numpy_helper.from_array(np.asarray(_SCALE), "scale"),
            numpy_helper.from_array(np.asarray(0, np.int8), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = tersor.get_num_threads()
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"x": x})[0]


def _numpy_given(x):
    return lambda: np.clip(np.rint(x / _SCALE), -127, 127).astype(np.int8)


def _torch_given(x):
    torch = optional("torch")
    if torch is None:
        return None
    tensor = torch.from_numpy(x)

    def quantize():
        return torch.quantize_per_tensor(tensor, float(_SCALE), 0, torch.qint8)

    with warnings.catch_warnings(action="ignore"):  # deprecated, which torch says once
        quantize()
    return quantize


def _check_given(x, result):
    values = getattr(result, "data", result)
    values = result.int_repr().numpy() if hasattr(result, "int_repr") else np.asarray(values)
    # x * (1 / scale) may fall on the other side of a tie; -128 is in range for the peers.
    assert np.abs(values - np.clip(x / _SCALE, -128, 127)).max() <= 1


def _numpy_rows(x):
    def quantize():
        scale = np.abs(x).max(axis=1, keepdims=True) / np.float32(127)
        return np.rint(x / scale).astype(np.int8), scale

    return quantize


def _torch_rows(x):
    torch = optional("torch")
    if torch is None:
        return None
    tensor = torch.from_numpy(x)

    def quantize():
        scale = tensor.abs().amax(1, keepdim=True) / 127
        return torch.round(tensor / scale).to(torch.int8), scale

    return quantize


def _check_rows(x, result):
    if isinstance(result, tersor.QuantizedArray):
        values = np.asarray(result)
    else:
        values, scale = (np.asarray(part, np.float32) for part in result)
        values = values * scale
    steps = np.abs(x).max(axis=-1, keepdims=True) / 127
    assert (np.abs(values.reshape(x.shape) - x) <= steps * 0.501).all()


def _int8(shape, dtype, rng):
    return rng.integers(-127, 128, shape, np.int8)


def _tersor_back(q):
    array = tersor.QuantizedArray(q, np.asarray(_SCALE), shape=q.shape)
    return lambda: tersor.dequantize(array)


def _torch_back(q):
    torch = optional("torch")
    if torch is None:
        return None
    with warnings.catch_warnings(action="ignore"):
        tensor = torch._make_per_tensor_quantized_tensor(torch.from_numpy(q), float(_SCALE), 0)
    return lambda: tensor.dequantize()


def _check_back(q, result):
    np.testing.assert_array_equal(np.asarray(result), q * _SCALE)


CASES = (
    Case(
        op="quantize.given",
        shape=(4096, 4096),
        toy=(3, 17),
        dtype="float32",
        inputs=_normal,
        contenders={
            "tersor": lambda x: lambda: tersor.quantize(x, scale=_SCALE),
            "numpy": _numpy_given,
            "torch": _torch_given,
            "onnxruntime": lambda x: _onnx_session("QuantizeLinear", x, np.int8),
        },
        bytes=lambda shape, itemsize: (itemsize + 1) * shape[0] * shape[1],
        check=_check_given,
    ),
    Case(
        op="quantize.rows",
        shape=(4096, 4096),
        toy=(3, 17),
        dtype="float32",
        inputs=_normal,
        contenders={
            "tersor": lambda x: lambda: tersor.quantize(x, axis=0),
            "numpy": _numpy_rows,
            "torch": _torch_rows,
        },
        bytes=lambda shape, itemsize: (itemsize + 1) * shape[0] * shape[1],
        check=_check_rows,
    ),
    Case(
        op="quantize.blocks",
        shape=(4096, 4096),
        toy=(3, 256),
        dtype="float32",
        inputs=_normal,
        contenders={
            "tersor": lambda x: lambda: tersor.quantize(x, block_size=128),
            "numpy": lambda x: _numpy_rows(x.reshape(-1, 128)),
            "torch": lambda x: _torch_rows(x.reshape(-1, 128)),
        },
        bytes=lambda shape, itemsize: (itemsize + 1) * shape[0] * shape[1],
        check=_check_rows,
    ),
    Case(
        op="quantize.dequantize",
        shape=(4096, 4096),
        toy=(3, 17),
        dtype="int8",
        inputs=_int8,
        contenders={
            "tersor": _tersor_back,
            "numpy": lambda q: lambda: q * _SCALE,
            "torch": _torch_back,
            "onnxruntime": lambda q: _onnx_session("DequantizeLinear", q, np.float32),
        },
        bytes=lambda shape, itemsize: 5 * shape[0] * shape[1],
        check=_check_back,
    ),
)
