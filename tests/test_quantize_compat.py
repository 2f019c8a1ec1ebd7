"""compat=...: bit for bit what other libraries compute, by running them or their formulas."""

import platform
import warnings

import numpy as np
import pytest
from ml_dtypes import bfloat16

import tersor
from tersor.testing import assert_identical, hostile

KINDS = ("normal", "ties", "constant", "leading_bits", "zeros", "descending", "denormal")
RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int4": (-8, 7), "uint4": (0, 15)}
GRANULARITIES = [{}, {"axis": 0}, {"block_size": 8}]
BITS = {np.dtype(np.float16): np.uint16, np.dtype(bfloat16): np.uint16}


def inputs(dtype=np.float32):
    for kind in KINDS:
        for shift in (0, 4, -2):
            if shift and kind == "denormal":
                continue
            yield (hostile(kind, (6, 24), dtype) * dtype(3) + dtype(shift)).astype(dtype)


def rows_of(x, options):
    """What shares a scale, as rows; and the shape of the scales."""
    if not options:
        return x.reshape(1, -1), ()
    if "block_size" in options:
        size = options["block_size"]
        return x.reshape(-1, size), (x.shape[0], x.shape[1] // size)
    return x, (x.shape[0],)


def values_of(q):
    """Data, one value a byte."""
    if q.dtype.endswith("8"):
        return q.data
    ones = np.float32(1)
    plain = tersor.QuantizedArray(q.data, np.asarray(ones), shape=q.shape, dtype=q.dtype)
    return np.asarray(plain).astype(np.int8 if q.dtype == "int4" else np.uint8)


def check(q, data, scale, zero_point):
    """`q` holds these; a zero point of None stands for 0."""
    assert_identical(values_of(q).reshape(data.shape), data)
    assert_identical(q.scale.reshape(-1).astype(np.float64), np.float64(scale).reshape(-1))
    ours = np.zeros(q.scale.shape) if q.zero_point is None else q.zero_point
    assert_identical(ours.reshape(-1).astype(int), np.asarray(zero_point).reshape(-1).astype(int))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("dtype", RANGES)
@pytest.mark.parametrize("source", [np.float32, np.float16])
def test_onnxruntime(backend, source, dtype, symmetric):
    quant_utils = pytest.importorskip("onnxruntime.quantization.quant_utils")
    onnx = pytest.importorskip("onnx")
    kind = getattr(onnx.TensorProto, dtype.upper())
    for x in inputs(source):
        for options in GRANULARITIES:
            q = tersor.quantize(
                x, compat="onnx", dtype=dtype, symmetric=symmetric, backend=backend, **options
            )
            rows, _ = rows_of(x, options)
            parts = [quant_utils.quantize_data(row, kind, symmetric) for row in rows]
            zero_point, scale, data = zip(*parts, strict=True)
            storage = np.int8 if dtype[0] == "i" else np.uint8
            data = np.stack([part.astype(storage) for part in data])
            check(q, data, np.stack(scale), np.stack(zero_point))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int4", "uint4"])
def test_torch(backend, dtype, symmetric):
    torch = pytest.importorskip("torch")
    observers = pytest.importorskip("torch.ao.quantization.observer")
    low, high = RANGES[dtype]
    torch_dtype = torch.qint8 if low < 0 else torch.quint8
    custom = {"quant_min": low, "quant_max": high} if dtype.endswith("4") else {}
    for x in inputs():
        for options in ({}, {"axis": 0}):
            scheme = "per_channel" if options else "per_tensor"
            qscheme = getattr(torch, f"{scheme}_{'symmetric' if symmetric else 'affine'}")
            kind = observers.PerChannelMinMaxObserver if options else observers.MinMaxObserver
            tensor = torch.from_numpy(x)
            with warnings.catch_warnings(action="ignore"):  # torch.ao is deprecated
                observer = kind(dtype=torch_dtype, qscheme=qscheme, **custom)
                observer(tensor)
                scale, zero = observer.calculate_qparams()
                scale = scale.float()
                if options:
                    whole = torch.quantize_per_channel(tensor, scale, zero, 0, torch_dtype)
                    fake = torch.fake_quantize_per_channel_affine(
                        tensor, scale, zero.int(), 0, low, high
                    )
                else:
                    numbers = float(scale), int(zero)
                    whole = torch.quantize_per_tensor(tensor, *numbers, torch_dtype)
                    fake = torch.fake_quantize_per_tensor_affine(tensor, *numbers, low, high)
                data = np.clip(whole.int_repr().numpy(), low, high)
            options = options | {
                "compat": "torch", "dtype": dtype, "symmetric": symmetric, "backend": backend
            }  # fmt: skip
            q = tersor.quantize(x, **options)
            if (symmetric and low < 0) or platform.machine() in ("x86_64", "AMD64"):
                check(q, data, scale.numpy(), zero.numpy())
            values, mask = tersor.fake_quantize(x, **options)
            np.testing.assert_array_equal(values, fake.numpy())
            assert symmetric or mask.all()  # absmax / 127.5: 127.5 rounds to 128


def test_gradient_mask_is_that_of_torch(backend):
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(hostile("normal", 1000) * 3).requires_grad_()
    torch.fake_quantize_per_tensor_affine(x, 0.02, 5, -128, 127).sum().backward()
    _, mask = tersor.fake_quantize(
        x.detach().numpy(), scale=0.02, zero_point=5, symmetric=False, compat="torch",
        backend=backend,
    )  # fmt: skip
    assert_identical(mask, x.grad.numpy() == 1)
    assert 0 < mask.sum() < 1000


def real_torchao(x, low, high, symmetric):
    """torchao itself, for rows."""
    with warnings.catch_warnings(action="ignore"):
        primitives = pytest.importorskip("torchao.quantization.quant_primitives")
    import torch

    kinds = primitives.MappingType
    kind = kinds.SYMMETRIC if symmetric else kinds.ASYMMETRIC
    storage = torch.int8 if low < 0 else torch.uint8
    block = (1, x.shape[1])
    scale, zero_point = primitives.choose_qparams_affine(x, kind, block, storage, low, high)
    data = primitives.quantize_affine(x, block, scale, zero_point, storage, low, high)
    return data, scale, zero_point


def real_compressed_tensors(x, low, high, symmetric):
    """compressed-tensors itself, for rows."""
    with warnings.catch_warnings(action="ignore"):
        module = pytest.importorskip("compressed_tensors.quantization")
        utils = pytest.importorskip("compressed_tensors.quantization.utils")
        forward = pytest.importorskip("compressed_tensors.quantization.lifecycle.forward")
    import torch

    bits = (high - low).bit_length()
    args = module.QuantizationArgs(num_bits=bits, symmetric=symmetric, strategy="channel")
    ends = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
    scale, zero_point = utils.calculate_qparams(*ends, args)
    data = forward.quantize(x, scale, zero_point, args, dtype=torch.int8)
    return data, scale[:, 0], zero_point[:, 0]


def compressed_tensors(x, low, high, symmetric):
    """calculate_qparams and _quantize of compressed_tensors.quantization, for rows."""
    import torch

    least, most = x.amin(1), x.amax(1)
    least, most = torch.min(least, torch.zeros_like(least)), torch.max(most, torch.zeros_like(most))
    bit_min, bit_max = torch.tensor(float(low)), torch.tensor(float(high))
    bit_range = bit_max - bit_min
    if symmetric:
        scales = torch.max(least.abs(), most.abs()) / (float(bit_range) / 2)
        zero_points = torch.zeros_like(scales)
    else:
        scales = (most - least) / float(bit_range)
        zero_points = torch.clamp(bit_min - (least / scales), bit_min, bit_max)
    eps = torch.finfo(scales.dtype).eps
    scales = torch.where(scales == 0, torch.tensor(eps, dtype=scales.dtype), scales)
    zero_points = torch.round(torch.clamp(zero_points, -128, 127)).to(torch.int8)
    scaled = x / scales[:, None]
    scaled += zero_points.to(x.dtype)[:, None]
    return torch.round(torch.clamp(scaled, bit_min, bit_max)), scales, zero_points


def torchao(x, low, high, symmetric):
    """_choose_qparams_affine and _quantize_affine of torchao.quantization, for rows."""
    import torch

    least, most = x.amin(1), x.amax(1)
    least, most = torch.min(least, torch.zeros_like(least)), torch.max(most, torch.zeros_like(most))
    eps = torch.finfo(x.dtype).smallest_normal
    if symmetric:
        scale = torch.max(-least, most) / (float(high - low) / 2)
        zero_point = torch.full_like(scale, int((high + low + 1) / 2))
        scale = torch.clamp(scale, min=eps)
    else:
        scale = torch.clamp((most - least) / float(high - low), min=eps)
        zero_point = torch.clamp(low - torch.round(least / scale), low, high)
    zero_point = zero_point.to(torch.int32)
    rounded = torch.round(x * (1.0 / scale[:, None])) + zero_point[:, None]
    return torch.clamp(rounded, low, high), scale, zero_point


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("source", [np.float32, np.float16, bfloat16])
@pytest.mark.parametrize(
    "library, dtype",
    [
        *((compressed_tensors, dtype) for dtype in ("int8", "int4")),
        *((torchao, dtype) for dtype in RANGES),
        *((real_compressed_tensors, dtype) for dtype in ("int8", "int4")),
        *((real_torchao, dtype) for dtype in RANGES),
    ],
)
def test_torch_libraries(backend, library, dtype, source, symmetric):
    """Their formulas, and they themselves where they are installed."""
    torch = pytest.importorskip("torch")
    compat = library.__name__.removeprefix("real_").replace("_", "-")
    low, high = RANGES[dtype]
    source = np.dtype(source)
    for x in inputs(source.type):
        for options in GRANULARITIES:
            q = tersor.quantize(
                x, compat=compat, dtype=dtype, symmetric=symmetric,
                backend=backend, **options,
            )  # fmt: skip
            rows, shape = rows_of(x, options)
            if source == bfloat16:
                tensor = torch.from_numpy(rows.view(np.uint16)).view(torch.bfloat16)
            else:
                tensor = torch.from_numpy(rows)
            data, scale, zero_point = library(tensor, low, high, symmetric)
            assert q.scale.dtype == source and q.scale.shape == shape
            storage = np.int8 if low < 0 else np.uint8
            data = data.float().numpy().astype(storage)
            check(q, data.reshape(x.shape), scale.double().numpy(), zero_point.numpy())
            fake, _ = tersor.fake_quantize(
                x, compat=compat, dtype=dtype, symmetric=symmetric,
                backend=backend, **options,
            )  # fmt: skip
            assert_identical(fake, q.dequantize())


def test_range_and_scale_differ_as_documented(backend):
    x = np.array([-1.0, 0.5, 1.0], np.float32)
    got = {
        compat: tersor.quantize(x, compat=compat, backend=backend)
        for compat in (None, "onnx", "torch", "compressed-tensors", "torchao")
    }
    assert {c: round(float(1 / q.scale), 2) for c, q in got.items()} == {
        None: 127.0, "onnx": 127.0, "torch": 127.5, "compressed-tensors": 127.5, "torchao": 127.5
    }  # fmt: skip
    nan = np.array([np.nan, 1.0], np.float32)
    for compat in got:
        q = tersor.quantize(nan, compat=compat, backend=backend)
        assert q.data[0] == 0 and q.nan_count == 1


@pytest.mark.parametrize("dtype", [np.float16, bfloat16])
def test_nan_and_fitted_ranges_in_short_dtypes(backend, dtype):
    x = hostile("nan", (5, 40), dtype)
    for compat in ("compressed-tensors", "torchao"):
        for options in ({"method": "mse", "block_size": 7}, {"method": "percentile", "axis": 0}):
            options = options | {"compat": compat, "backend": backend}
            q = tersor.quantize(x, **options)
            assert q.nan_count == np.isnan(x).sum() and q.scale.dtype == dtype
            assert (q.data[np.isnan(x)] == 0).all()
            values, mask = tersor.fake_quantize(x, **options)
            assert_identical(values, q.dequantize())
            error = np.abs(values.astype(np.float32) - x.astype(np.float32))[mask]
            # bfloat16 rounds the quotient, and then the product, by up to a quarter of a step each.
            steps = 1.0 if dtype == bfloat16 else 0.6
            assert error.max() <= steps * q.scale.astype(np.float32).max()
