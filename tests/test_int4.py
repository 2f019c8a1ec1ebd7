import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tersor
from tersor.testing import assert_identical, layouts, unchanged

STEM = "quantize"
STORAGE = {"int4": np.int8, "uint4": np.uint8}
ORDERS = ("low_first", "high_first")


def packed_by_hand(x, order):
    rows = [x[index].tolist() for index in np.ndindex(x.shape[:-1])]
    result = []
    for row in rows:
        row = [value & 15 for value in row] + [0] * (len(row) % 2)
        pairs = zip(row[::2], row[1::2], strict=True)
        result.append([a | b << 4 if order == "low_first" else a << 4 | b for a, b in pairs])
    return np.array(result, np.uint8).reshape(*x.shape[:-1], -(-x.shape[-1] // 2))


def values(dtype, shape, seed=0):
    low = -8 if dtype == "int4" else 0
    return np.random.default_rng(seed).integers(low, low + 16, shape).astype(STORAGE[dtype])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", STORAGE)
@pytest.mark.parametrize("shape", [(1,), (2,), (7,), (3, 5), (2, 3, 8), (0, 3), (3, 0)])
def test_by_hand_and_back(backend, dtype, order, shape):
    x = values(dtype, shape)
    for name, view in layouts(x):
        with unchanged(view):
            packed = tersor.pack_int4(view, order=order, backend=backend)
        assert_identical(packed, packed_by_hand(x, order)), name
    options = {"dtype": dtype, "order": order, "backend": backend}
    assert_identical(tersor.unpack_int4(packed, shape[-1], **options), x)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_every_array_comes_back(data):
    dtype = data.draw(st.sampled_from(sorted(STORAGE)))
    elements = st.integers(-8, 7) if dtype == "int4" else st.integers(0, 15)
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=9))
    x = data.draw(hnp.arrays(STORAGE[dtype], shape, elements=elements))
    for order in ORDERS:
        packed = tersor.pack_int4(x, order=order)
        assert_identical(tersor.unpack_int4(packed, shape[-1], dtype=dtype, order=order), x)


def test_is_what_quantized_arrays_and_onnx_hold():
    q = tersor.quantize(np.linspace(-1, 1, 9), dtype="int4")
    integers = np.rint(np.linspace(-7, 7, 9)).astype(np.int8)
    assert_identical(tersor.unpack_int4(q.data, 9), integers)
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.INT4
    tensor = helper.make_tensor("x", kind, (9,), integers)
    stored = np.frombuffer(tensor.raw_data or bytes(tensor.int32_data), np.uint8)
    assert_identical(tersor.pack_int4(integers), stored)


def test_words_of_compressed_tensors():
    module = pytest.importorskip("compressed_tensors.compressors.pack_quantized.helpers")
    torch = pytest.importorskip("torch")
    x = values("int4", (3, 16))
    theirs = module.pack_to_int32(torch.from_numpy(x), 4)
    ours = tersor.pack_int4((x + 8).astype(np.uint8)).view("<i4")
    np.testing.assert_array_equal(ours, theirs.numpy())


def test_tensors():
    torch = pytest.importorskip("torch")
    packed = tersor.pack_int4(torch.tensor([1, -2, 3], dtype=torch.int8))
    assert packed.dtype == torch.uint8 and packed.tolist() == [225, 3]
    assert tersor.unpack_int4(packed, 3).tolist() == [1, -2, 3]


BYTES = np.ones(2, np.uint8)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: tersor.pack_int4([1]), TypeError, "x must be int8 or uint8, got int64"),
        (lambda: tersor.pack_int4(BYTES, order="x"), ValueError, "order must be 'low_first' or"),
        (lambda: tersor.pack_int4(np.int8(1)), ValueError, "x must have an axis, got a 0-D array"),
        (lambda: tersor.pack_int4(np.int8([8])), ValueError, r"x must be in -8\.\.7 for 4 bits, g"),
        (lambda: tersor.pack_int4(np.uint8([16])), ValueError, r"x must be in 0\.\.15 for 4 bits"),
        (lambda: tersor.unpack_int4(BYTES, 5), ValueError, r"packed must have ceil\(n / 2\) bytes"),
        (lambda: tersor.unpack_int4(BYTES, 4.0), TypeError, "n must be an int, got 4.0"),
        (lambda: tersor.unpack_int4([1], 2), TypeError, "packed must be uint8, got int64"),
        (lambda: tersor.unpack_int4(BYTES, 4, dtype="int8"), ValueError, "dtype must be 'int4' or"),
        (lambda: tersor.unpack_int4(BYTES, 4, order=0), ValueError, "order must be 'low_first' or"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
