"""Cases of quantization: given and fitted scales, small and large, and back."""

import warnings
from math import prod

import numpy as np

import tersor

from ..case import Case, optional

_SCALE = np.float32(0.03)
_TINY, _SMALL, _MIDDLE, _LARGE, _HUGE = (
    (10, 100),
    (100, 1000),
    (1000, 1024),
    (2500, 4096),
    (24414, 4096),
)
_FLAT = tuple((10**k,) for k in range(3, 9))
_WHERE = {"": {}, "axis 0": {"axis": 0}, "axis 1": {"axis": 1}, "block": {"block_size": 128}}
_CHECKED = 10**6  # entries of a large result


def _normal(shape, dtype, rng):
    return rng.standard_normal(shape, dtype)


def _scales(x, where):
    """A scale for each part, all near _SCALE; and the same for each entry, or to be broadcast."""
    where = _WHERE[where]
    if not where:
        return _SCALE, _SCALE
    if "block_size" in where:
        scales = _around((x.shape[0], -(-x.shape[1] // 128)))
        return scales, np.repeat(scales, 128, axis=1)[:, : x.shape[1]]
    scales = _around((x.shape[where["axis"]],))
    return scales, scales[:, None] if where["axis"] == 0 else scales


def _around(shape):
    return np.linspace(0.02, 0.04, prod(shape), dtype=np.float32).reshape(shape)


def _onnx_session(operator, x, output, scales=_SCALE, **attributes):
    """A call of one ONNX operator by onnxruntime, with int8 zero points of 0."""
    ort, onnx = optional("onnxruntime"), optional("onnx")
    if ort is None or onnx is None:
        return None
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    kinds = [helper.np_dtype_to_tensor_dtype(np.dtype(d)) for d in (x.dtype, output)]
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "scale", "zero"], ["y"], **attributes)],
        operator,
        [helper.make_tensor_value_info("x", kinds[0], x.shape)],
        [helper.make_tensor_value_info("y", kinds[1], x.shape)],
        [
            numpy_helper.from_array(np.asarray(scales), "scale"),
            numpy_helper.from_array(np.zeros(np.shape(scales), np.int8), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = tersor.get_num_threads()
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"x": x})[0]


def _given(where, shape, into=False):
    """Quantization by given scales; into an array that is there, or a fresh one."""

    def by_tersor(x):
        scales, out = _scales(x, where)[0], np.zeros(x.shape, np.int8) if into else None
        return lambda: tersor.quantize(x, scale=scales, out=out, **_WHERE[where])

    def by_numpy(x):
        each, room = _scales(x, where)[1], np.empty_like(x) if into else None

        def call():
            q = np.divide(x, each, out=room)
            return np.clip(np.rint(q, out=q), -127, 127, out=q).astype(np.int8)

        return call

    def by_torch(x):
        torch = optional("torch")
        if torch is None or where == "block" or into:
            return None
        tensor, axis = torch.from_numpy(x), _WHERE[where].get("axis")
        scales = torch.from_numpy(np.asarray(_scales(x, where)[0]))
        zeros = torch.zeros(scales.shape, dtype=torch.int64)

        def call():
            if axis is None:
                return torch.quantize_per_tensor(tensor, float(_SCALE), 0, torch.qint8)
            return torch.quantize_per_channel(tensor, scales, zeros, axis, torch.qint8)

        with warnings.catch_warnings(action="ignore"):  # deprecated, which torch says once
            call()
        return call

    def by_onnxruntime(x):
        attributes = dict(_WHERE[where])
        if "block_size" in attributes:
            attributes["axis"] = 1
        return _onnx_session("QuantizeLinear", x, np.int8, _scales(x, where)[0], **attributes)

    def check(x, result):
        values = getattr(result, "data", result)
        values = result.int_repr().numpy() if hasattr(result, "int_repr") else np.asarray(values)
        each = np.broadcast_to(_scales(x, where)[1], x.shape)
        step = max(1, x.size // _CHECKED)
        values, x, each = (a.reshape(-1)[::step] for a in (values, x, each))
        # x * (1 / scale) may fall on the other side of a tie; -128 is in range for the peers.
        assert np.abs(values - np.clip(x / each, -128, 127)).max() <= 1

    name = f"{where or 'all'}{', out' if into else ''}"
    return Case(
        op=f"quantize.given({name})",
        shape=shape,
        toy=(300,) if len(shape) == 1 else (3, 300),
        dtype="float32",
        inputs=_normal,
        contenders={
            "tersor": by_tersor,
            "numpy": by_numpy,
            "torch": by_torch,
            "onnxruntime": by_onnxruntime,
        },
        bytes=lambda shape, itemsize: (itemsize + 1) * prod(shape),
        check=check,
    )


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


def _check_fitted(x, result, axis):
    if isinstance(result, tersor.QuantizedArray):
        values = np.asarray(result)
    else:
        values, scale = (np.asarray(part, np.float32) for part in result)
        values = values * scale
    steps = np.abs(x).max(axis=axis, keepdims=True) / 127
    assert (np.abs(values.reshape(x.shape) - x) <= steps * 0.501).all()


def _fitted(where, shape):
    """Quantization by the largest magnitude of all, of each row, or of blocks of 128."""
    options = {"all": {}, "rows": {"axis": 0}, "blocks": {"block_size": 128}}[where]

    def peer(make):
        # The toy has another shape than the case.
        rows = {"all": lambda x: (1, -1), "rows": lambda x: x.shape, "blocks": lambda x: (-1, 128)}
        return lambda x: make(x.reshape(rows[where](x)))

    return Case(
        op=f"quantize.{where}",
        shape=shape,
        toy=(3, 256),
        dtype="float32",
        inputs=_normal,
        contenders={
            "tersor": lambda x: lambda: tersor.quantize(x, **options),
            "numpy": peer(_numpy_rows),
            "torch": peer(_torch_rows),
        },
        bytes=lambda shape, itemsize: (itemsize + 1) * prod(shape),
        check=lambda x, result: _check_fitted(x, result, None if where == "all" else 1),
    )


def _absmax(shape):
    """The largest magnitude alone: what a Calibrator takes in."""

    def by_torch(x):
        torch = optional("torch")
        tensor = None if torch is None else torch.from_numpy(x)
        return None if torch is None else lambda: max(map(abs, map(float, tensor.aminmax())))

    def check(x, result):
        largest = result.scale * 127 if isinstance(result, tersor.Calibrator) else result
        assert abs(largest - np.abs(x).max()) <= 1e-5

    return Case(
        op="quantize.absmax",
        shape=shape,
        toy=(300,),
        dtype="float32",
        inputs=_normal,
        contenders={
            "tersor": lambda x: lambda: tersor.Calibrator().update(x),
            "numpy": lambda x: lambda: max(-x.min(), x.max()),
            "torch": by_torch,
        },
        bytes=lambda shape, itemsize: itemsize * prod(shape),
        check=check,
    )


def _int8(shape, dtype, rng):
    return rng.integers(-127, 128, shape, np.int8)


def _torch_back(q):
    torch = optional("torch")
    if torch is None:
        return None
    with warnings.catch_warnings(action="ignore"):
        tensor = torch._make_per_tensor_quantized_tensor(torch.from_numpy(q), float(_SCALE), 0)
    return lambda: tensor.dequantize()


def _check_back(q, result):
    np.testing.assert_array_equal(np.asarray(result), q * _SCALE)


def _back(shape, into=False):
    """Dequantization; into an array that is there, or a fresh one (onnxruntime keeps its own)."""

    def by_tersor(q):
        array = tersor.QuantizedArray(q, np.asarray(_SCALE), shape=q.shape)
        out = np.zeros(q.shape, np.float32) if into else None
        return lambda: tersor.dequantize(array, out=out)

    def by_numpy(q):
        out = np.zeros(q.shape, np.float32) if into else None
        return lambda: np.multiply(q, _SCALE, out=out)

    return Case(
        op=f"quantize.dequantize{'(out)' if into else ''}",
        shape=shape,
        toy=(3, 17),
        dtype="int8",
        inputs=_int8,
        contenders={
            "tersor": by_tersor,
            "numpy": by_numpy,
            "torch": (lambda q: None) if into else _torch_back,
            "onnxruntime": lambda q: _onnx_session("DequantizeLinear", q, np.float32),
        },
        bytes=lambda shape, itemsize: 5 * prod(shape),
        check=_check_back,
    )


CASES = (
    *(_given("", shape) for shape in _FLAT),
    *(
        _given(where, shape)
        for where in ("axis 0", "axis 1", "block")
        for shape in (_TINY, _SMALL, _MIDDLE, _LARGE, _HUGE)
    ),
    *(_given("", shape, into=True) for shape in _FLAT[-2:]),
    *(_fitted("all", shape) for shape in (_SMALL, _LARGE)),
    *(_fitted("rows", shape) for shape in ((1, 4096), (64, 4096), (4096, 4096))),
    *(_fitted("blocks", shape) for shape in ((64, 4096), (4096, 4096))),
    *(_absmax(shape) for shape in ((10**5,), *_FLAT[-2:])),
    *(_back(shape) for shape in (_SMALL, _MIDDLE, (4096, 4096), _FLAT[-1])),
    *(_back(shape, into=True) for shape in ((4096, 4096), _FLAT[-1])),
)
