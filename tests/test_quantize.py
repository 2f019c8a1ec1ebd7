import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from ml_dtypes import bfloat16

import tersor
from tersor.testing import (
    KINDS,
    assert_identical,
    guarded,
    hostile,
    layouts,
    unchanged,
)
from tersor_kernels.cpu._common import BLOCK
from tersor_kernels.cpu._philox import fill_words
from tersor_kernels.cpu._stream import LARGE
from tersor_kernels.reference._philox import philox, philox_words

FLOATS = [np.float16, bfloat16, np.float32, np.float64]
# On cuda, the others are long.
EMULATED = {
    "dtype": [None, np.float16, np.float32, "int8", "uint4"],
    "kind": ["normal", "extremes", "denormal"],
}
DTYPES = {"int8": (-128, 127), "uint8": (0, 255), "int4": (-8, 7), "uint4": (0, 15)}
SHAPES = [(1,), (5,), (4, 6), (3, 1, 5), (70, 1031), (2, 3, 1), (3, 0), (0, 4), ()]


def slices(shape, axis, block_size):
    """An index of the array and one of the scales for all that share a scale."""
    if axis is None:
        return [((), ())]
    if block_size is None:
        return [((slice(None),) * axis + (i,), (i,)) for i in range(shape[axis])]
    others = [range(n) for n in shape]
    others[axis] = range(-(-shape[axis] // block_size))
    result = []
    for index in np.ndindex(*map(len, others)):
        run = slice(index[axis] * block_size, (index[axis] + 1) * block_size)
        result.append(((*index[:axis], run, *index[axis + 1 :]), index))
    return result


def expected(x, axis, block_size, dtype="int8", symmetric=True):
    """data (not packed), scale, zero_point, one slice after the other."""
    wide = np.float64 if x.dtype == np.float64 else np.float32
    x = x.astype(wide)
    low, high = DTYPES[dtype]
    middle = (low + high + 1) // 2
    shape = np.empty(x.shape, bool)
    if axis is None:
        scales = ()
    elif block_size is None:
        scales = (x.shape[axis],)
    else:
        scales = (*x.shape[:axis], -(-x.shape[axis] // block_size), *x.shape[axis + 1 :])
    data, scale = np.zeros(shape.shape, np.int64), np.ones(scales, wide)
    zero = np.full(scales, middle if symmetric else low if low == 0 else 0, np.int64)
    for index, where in slices(x.shape, axis, block_size):
        part = x[index]
        if part.size == 0:
            continue
        least, most = min(part.min(), wide(0)), max(part.max(), wide(0))
        if symmetric:
            steps, most = (high - low) // 2, max(-least, most)
            first, last = middle - steps, middle + steps
            width = most
        else:
            first, last = low, high
            steps, width = high - low, most - least
        if width:
            scale[where] = width / wide(steps)
            if not symmetric:
                zero[where] = np.clip(np.rint(low - least / scale[where]), low, high)
        elif not symmetric:
            zero[where] = low
        data[index] = np.clip(np.rint(part / scale[where]) + zero[where], first, last)
    return data.astype(np.int8 if low else np.uint8), scale, zero


def unpacked(q):
    """The values of a QuantizedArray of whole bytes or nibbles, one a byte."""
    if q.dtype.endswith("8"):
        return q.data
    values = np.empty(q.shape, np.int8 if q.dtype == "int4" else np.uint8)
    for index in np.ndindex(q.shape):
        byte = int(q.data[(*index[:-1], index[-1] // 2)] if index else q.data)
        nibble = byte >> 4 if index and index[-1] % 2 else byte & 15
        values[index] = nibble - 16 if q.dtype == "int4" and nibble > 7 else nibble
    return values


@pytest.mark.parametrize("shape", SHAPES)
def test_symmetric_int8(backend, shape):
    x = hostile("normal", shape)
    for axis in (None, *range(len(shape))):
        for block_size in (None, 1, 2, 32) if axis is not None else (None,):
            q = tersor.quantize(x, axis=axis, block_size=block_size, backend=backend)
            data, scale, _ = expected(x, axis, block_size)
            assert_identical(q.data, data)
            assert_identical(q.scale, scale)
            assert q.zero_point is None
            options = {"axis": axis, "block_size": block_size, "scale": scale}
            assert_identical(tersor.quantize(x, **options, backend=backend).data, data)
            error = np.abs(q.dequantize() - x)
            assert error.max(initial=0) <= 0.5001 * scale.max(initial=0)
            assert_identical(tersor.dequantize(q, backend=backend), np.asarray(q))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(backend, dtype, symmetric):
    x = hostile("normal", (5, 9, 4)) + np.float32(0.3)
    for axis, block_size in [(None, None), (0, None), (2, None), (1, 4), (2, 3)]:
        q = tersor.quantize(
            x, dtype=dtype, axis=axis, block_size=block_size, symmetric=symmetric, backend=backend
        )
        data, scale, zero = expected(x, axis, block_size, dtype, symmetric)
        assert_identical(unpacked(q), data)
        assert_identical(q.scale, scale)
        if q.zero_point is None:
            assert symmetric and dtype in ("int8", "int4")
        else:
            assert_identical(q.zero_point, zero.astype(data.dtype))
        assert q.nbytes == q.data.nbytes + q.scale.nbytes + (
            0 if q.zero_point is None else q.zero_point.nbytes
        )
        assert np.abs(np.asarray(q) - x).max() <= 0.5001 * scale.max()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", KINDS)
def test_inputs_that_hurt(backend, kind, dtype):
    x = hostile(kind, (6, 35), dtype)
    q = tersor.quantize(x, axis=0, backend=backend)
    assert q.source_dtype == x.dtype.name
    assert q.scale.dtype == (np.float64 if dtype == np.float64 else np.float32)
    if kind not in ("denormal", "extremes"):  # see the next two tests
        data, scale, _ = expected(x, 0, None)
        assert_identical(q.data, data)
        assert_identical(q.scale, scale)
    if kind == "denormal" and dtype == np.float64:
        return
    # The rounding of x / scale, and of the result to a short dtype, adds to half a step.
    error = np.abs(np.asarray(q, np.float64) - x.astype(np.float64))
    slack = 2.0**-20 + (2.0**-8 if np.dtype(dtype).itemsize == 2 else 0) * 254
    assert (error <= q.scale[:, None].astype(np.float64) / 2 * (1 + slack)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("symmetric", [True, False])
def test_subnormal_scales_do_not_clip(backend, dtype, symmetric):
    tiny = np.finfo(dtype).smallest_subnormal
    for largest in (1, 60, 127, 190, 255, 381, 1000, 70000):
        x = np.array([0, 1, largest // 2, largest], dtype) * tiny
        q = tersor.quantize(x, symmetric=symmetric, backend=backend)
        assert 0 < q.scale and np.abs(np.asarray(q) - x).max() <= q.scale
        assert q.data[3] <= 127 and q.data[3] >= q.data[2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_largest_values(backend, dtype):
    most = np.finfo(dtype).max
    x = np.array([most, -most, most / 3], dtype)
    for options in ({}, {"axis": 0}, {"block_size": 2}, {"dtype": "int4"}, {"method": "mse"}):
        q = tersor.quantize(x, **options, backend=backend)
        assert np.isfinite(np.asarray(q)).all()
        assert (np.abs(np.asarray(q) - x) <= spread(q) * 0.51).all()
    x = x * dtype(0.99)  # the width of the range overflows
    q = tersor.quantize(x, symmetric=False, backend=backend)
    assert set(q.data[:2]) == {127, -128}
    assert (np.abs(np.asarray(q) - x) <= q.scale * 1.01).all()


def test_ties_go_to_even_and_the_quotient_is_a_quotient(backend):
    x = np.arange(-6, 7) + 0.5
    q = tersor.quantize(x, scale=1.0, backend=backend)
    assert_identical(q.data, np.rint(x).astype(np.int8))
    assert q.data[6] == 0 and q.data[7] == 2
    scale = np.float32(0.77)
    x = (np.arange(0, 100) + 0.5).astype(np.float32) * scale
    inverse = np.rint(x * (np.float32(1) / scale))
    assert (inverse != np.rint(x / scale)).any()  # so that the test can tell
    got = tersor.quantize(x, scale=scale, backend=backend).data
    assert_identical(got, np.rint(x / scale).astype(np.int8))


@pytest.mark.parametrize("dtype", ["int8", "uint4"])
def test_nan_and_infinities(backend, dtype):
    x = np.array([[1, np.nan, -2], [np.nan, np.nan, np.nan], [0.5, 0, -0.0]], np.float32)
    q = tersor.quantize(x, axis=0, dtype=dtype, backend=backend)
    assert q.nan_count == 4
    assert_identical(q.scale[1], np.float32(1))
    values = np.asarray(q)
    assert (values[np.isnan(x)] == 0).all()
    clean = np.nan_to_num(x)
    assert_identical(values, np.asarray(tersor.quantize(clean, axis=0, dtype=dtype)))
    for function in (tersor.quantize, tersor.fake_quantize):
        for options in ({"axis": 0}, {"scale": 1.0}, {"symmetric": False}):
            with pytest.raises(ValueError, match=r"x must not be NaN with nan='raise', got 4 of 9"):
                function(x, nan="raise", dtype=dtype, backend=backend, **options)
    x[0, 0] = np.inf
    for options in ({}, {"axis": 0}, {"axis": 1}, {"symmetric": False}, {"method": "mse"}):
        with pytest.raises(ValueError, match="x must be finite where its scale is fitted"):
            tersor.quantize(x, dtype=dtype, backend=backend, **options)
    ends = tersor.quantize(np.array([np.inf, -np.inf, 1e30]), scale=1.0, backend=backend)
    assert_identical(ends.data, np.array([127, -127, 127], np.int8))


def test_given_scale_and_zero_point(backend):
    x = hostile("normal", (4, 6)) * 300
    scale, zero = np.array([1, 2, 3, 0.5]), np.array([-128, 127, 3, 0])
    q = tersor.quantize(x, axis=0, scale=scale, zero_point=zero, symmetric=False, backend=backend)
    scale32 = scale.astype(np.float32)[:, None]
    want = np.clip(np.rint(x / scale32) + zero[:, None], -128, 127).astype(np.int8)
    assert_identical(q.data, want)
    assert_identical(q.zero_point, zero.astype(np.int8))
    assert_identical(np.asarray(q), (want.astype(np.float32) - zero[:, None].astype("f")) * scale32)
    full = tersor.quantize(x, scale=1.0, symmetric=False, backend=backend)
    assert full.zero_point is None and full.data.min() == -128


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"axis": 0},
        {"axis": 1},
        {"axis": 2},
        {"axis": 1, "block_size": 3},
        {"block_size": 7},
        {"symmetric": False},
        {"dtype": "int4", "block_size": 3},
        {"rounding": "stochastic", "seed": 9},
        {"axis": 2, "rounding": "stochastic", "seed": 9},
        {"method": "mse", "axis": 1},
        {"method": "percentile", "percentile": 90},
    ],
)
def test_layouts(backend, options):
    x = hostile("normal", (3, 10, 9))
    want = tersor.quantize(x, **options, backend=backend)
    values, mask = tersor.fake_quantize(x, **options, backend=backend)
    for name, view in layouts(x):
        with unchanged(view):
            q = tersor.quantize(view, **options, backend=backend)
            fake = tersor.fake_quantize(view, **options, backend=backend)
        assert_identical(q.data, want.data), name
        assert_identical(q.scale, want.scale), name
        assert_identical(fake[0], values), name
        assert_identical(fake[1], mask), name
    swapped = x.astype(x.dtype.newbyteorder())
    assert_identical(tersor.quantize(swapped, **options, backend=backend).data, want.data)


@pytest.mark.parametrize(
    "shape, axis, block_size",
    [
        ((3 * BLOCK + 1,), None, None),
        ((5, BLOCK - 1), 0, None),
        ((5, BLOCK + 1), 1, None),
        ((7, 9001), 1, 1000),
        ((9001, 7), 0, 1000),
        ((BLOCK + 3, 3), 1, None),
        ((2, 40, 999), 1, 7),
        ((3, 70000), 0, None),
        ((2, 20 * BLOCK), 1, 17 * BLOCK),
    ],
)
def test_blocks_of_work_do_not_show(threads, shape, axis, block_size):
    x = hostile("normal", shape)
    x.reshape(-1)[7::1000] = np.nan
    for options in ({}, {"symmetric": False}, {"rounding": "stochastic", "seed": 3}):
        options = options | {"axis": axis, "block_size": block_size}
        got = tersor.quantize(x, **options)
        want = tersor.quantize(x, **options, backend="reference")
        for name in ("data", "scale", "zero_point", "nan_count"):
            assert_identical(getattr(got, name), getattr(want, name))
        assert_identical(np.asarray(got), tersor.dequantize(want, backend="reference"))
        fakes = [tersor.fake_quantize(x, **options, backend=b) for b in ("cpu", "reference")]
        assert_identical(fakes[0][0], np.asarray(want))
        assert_identical(fakes[0][1], fakes[1][1])


@pytest.mark.parametrize("shape", [(1,), (7,), (8,), (3, 5), (4, 8193), (3, 2 * BLOCK + 1), (5, 0)])
def test_int4_pairs_of_nibbles(backend, shape):
    x = hostile("normal", shape)
    q = tersor.quantize(x, dtype="int4", backend=backend)
    data, scale, _ = expected(x, None, None, "int4")
    assert q.data.dtype == np.uint8 and q.data.shape == (*shape[:-1], -(-shape[-1] // 2))
    assert_identical(np.asarray(q), data * scale)
    part = tersor.quantize(x[..., :21], dtype="int4", scale=scale, backend=backend)
    assert_identical(unpacked(part), data[..., :21])
    if shape[-1] % 2:
        assert (q.data[..., -1] >> 4 == 0).all()


# Stochastic rounding.


def test_philox_gives_the_published_words():
    """kat_vectors of the Random123 distribution, philox4x32 10."""
    ones, pi = 0xFFFFFFFF, (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    for counter, key, want in [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((ones,) * 4, (ones, ones), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (pi, (0xA4093822, 0x299F31D0), "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ]:
        assert " ".join(f"{int(word):08x}" for word in philox(counter, key)) == want


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**64 - 1])
def test_philox_words_of_the_kernel(seed):
    words = np.empty(64, np.uint32)
    fill_words(np.uint64(seed), 0, np.zeros(1, np.int64), 64, words)
    assert_identical(words, philox_words(seed, np.arange(64)).astype(np.uint32))
    first = 2**32 - 3  # the counter goes past 32 bits
    fill_words(np.uint64(seed), 0, np.array([4 * first]), 64, words)
    key = (seed & 0xFFFFFFFF, seed >> 32)
    for i in (0, 2, 3, 15):
        low, high = (first + i) & 0xFFFFFFFF, (first + i) >> 32
        want = [int(w) for w in philox((low, high, 0, 0), key)]
        assert words[4 * i : 4 * i + 4].tolist() == want


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_stochastic_rounding_is_fair(backend, dtype):
    fractions = np.array([0, 0.001, 0.25, 0.5, 0.9, 1.0])
    x = np.repeat(fractions[:, None] - 3, 20000, 1).astype(dtype)
    options = {"scale": 1.0, "rounding": "stochastic", "backend": backend}
    q = tersor.quantize(x, **options, seed=12).data
    assert set(np.unique(q)) == {-3, -2}
    deviation = np.sqrt(fractions * (1 - fractions) / x.shape[1])
    assert (np.abs(q.mean(axis=1) - (fractions - 3)) <= 5 * deviation).all()
    assert_identical(q, tersor.quantize(x, **options, seed=12).data)
    assert (q != tersor.quantize(x, **options, seed=13).data).any()
    # An entry depends on its own value and place alone.
    head = tersor.quantize(x.reshape(-1)[:30001], **options, seed=12).data
    assert_identical(head, q.reshape(-1)[:30001])
    assert (tersor.quantize(x, **options).data != tersor.quantize(x, **options).data).any()


def test_stochastic_rounding_by_its_definition(backend):
    x = hostile("normal", (5, 33)) * 50
    scale = np.array([0.3, 1, 2, 0.7, 5], np.float32)
    q = tersor.quantize(
        x, axis=0, scale=scale, rounding="stochastic", seed=2**40 + 7, backend=backend
    )
    v = x / scale[:, None]
    u = (philox_words(2**40 + 7, np.arange(x.size)) >> 8).reshape(x.shape) / 2**24
    want = np.floor(v) + (u < (v - np.floor(v)).astype(np.float64))
    assert_identical(q.data, np.clip(want, -127, 127).astype(np.int8))


def test_pieces_are_rounded_as_the_whole_is(backend):
    x = hostile("normal", (40, 1003)) * 50
    options = {"scale": 1.0, "rounding": "stochastic", "seed": 5, "backend": backend}
    whole = tersor.quantize(x, **options).data
    for a, b in ((0, 7), (7, 8), (8, 40)):
        rows = tersor.quantize(x[a:b], offset=a * 1003, **options)
        assert_identical(rows.data, whole[a:b])
        for c, d in ((0, 501), (501, 1003)):
            numbers = np.arange(a, b) * 1003 + c
            q = tersor.quantize(x[a:b, c:d], offset=numbers, **options)
            assert_identical(q.data, whole[a:b, c:d])
            values, _ = tersor.fake_quantize(x[a:b, c:d], offset=numbers, **options)
            assert_identical(values, whole[a:b, c:d].astype(np.float32))
    far = tersor.quantize(x[0], offset=2**40 + 3, **options).data
    assert_identical(far[5:], tersor.quantize(x[0, 5:], offset=2**40 + 8, **options).data)
    assert tersor.quantize(x[:0], offset=np.zeros(0, int), **options).data.shape == (0, 1003)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [{}, {"axis": 1}, {"block_size": 4}, {"scale": 0.1}])
def test_out(backend, dtype, options):
    x = hostile("nan", (6, 11))
    x[np.isinf(x)] = 1
    q = tersor.quantize(x, dtype=dtype, **options, backend=backend)
    with guarded(q.data.shape, q.data.dtype) as out:
        got = tersor.quantize(x, dtype=dtype, **options, out=out, backend=backend)
        assert got.data is out
    assert_identical(out, q.data)
    assert_identical(got.scale, q.scale)
    strided = np.zeros((12, q.data.shape[1]), q.data.dtype)[::2]
    assert tersor.quantize(x, dtype=dtype, **options, out=strided, backend=backend).data is strided
    assert_identical(strided, q.data)
    with pytest.raises(ValueError, match="x must not be NaN"):
        tersor.quantize(x, dtype=dtype, **options, out=strided, nan="raise", backend=backend)
    assert_identical(strided, q.data)  # nothing was written
    if dtype == "int8":
        over = x.view(np.int8)[:, :11]  # what is written first is still to be read
        tersor.quantize(x, **options, out=over, backend=backend)
        assert_identical(over, q.data)


# Quantize and back.


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"axis": 0},
        {"axis": 1, "symmetric": False},
        {"block_size": 4, "dtype": "int4"},
        {"rounding": "stochastic", "seed": 1},
        {"dtype": "uint8", "symmetric": False, "axis": -1},
    ],
)
def test_fake_quantize_is_there_and_back(backend, dtype, options):
    x = hostile("nan", (7, 21), dtype)
    values, mask = tersor.fake_quantize(x, **options, backend=backend)
    assert_identical(values, tersor.quantize(x, **options).dequantize())
    assert_identical(mask, ~np.isnan(x))


def test_fake_quantize_mask(backend):
    x = np.array([-65, -64.2, -63.5, 0, 63.5, 63.7, 63.75, 64, np.inf, -np.inf, np.nan], np.float32)
    values, mask = tersor.fake_quantize(x, scale=0.5, backend=backend)
    assert mask.tolist() == [False, False, True, True, True, True, False, False] + [False] * 3
    assert values[[0, 7, 8, 9, 10]].tolist() == [-63.5, 63.5, 63.5, -63.5, 0]
    ranges = tersor.fake_quantize(x, scale=0.5, zero_point=100, symmetric=False, backend=backend)
    assert ranges[0][[0, 4, 8]].tolist() == [-65, 13.5, 13.5]
    assert ranges[1].tolist() == [True] * 4 + [False] * 7


@pytest.mark.parametrize("dtype", [None, *FLOATS])
def test_dequantize_dtypes_and_out(backend, dtype):
    x = hostile("normal", (6, 10), bfloat16)
    q = tersor.quantize(x, axis=0, symmetric=False)
    got = tersor.dequantize(q, dtype=dtype, backend=backend)
    assert got.dtype == (bfloat16 if dtype is None else dtype)
    wide = np.float64 if dtype == np.float64 else np.float32
    exact = (q.data.astype(wide) - q.zero_point.astype(wide)[:, None]) * q.scale.astype(wide)[
        :, None
    ]
    assert_identical(got, exact.astype(got.dtype))
    with guarded((6, 10), got.dtype) as out:
        assert tersor.dequantize(q, out=out, backend=backend) is out
    assert_identical(out, got)
    strided = np.zeros((12, 20), got.dtype)
    tersor.dequantize(q, out=strided[::2, 1::2], backend=backend)
    assert_identical(strided[::2, 1::2], got)
    assert (strided[1::2] == 0).all() and (strided[:, ::2] == 0).all()


@pytest.mark.parametrize("layout", ["overlapping", "unaligned", "byte-swapped"])
def test_dequantize_into_arrays_that_kernels_can_not_write(backend, layout):
    q = tersor.quantize(hostile("normal", (3, 400)), axis=0)
    want, memory = q.dequantize(), np.zeros(4804, np.uint8)
    if layout == "overlapping":  # what is written first is still to be read
        memory[-1204:-4] = q.data.reshape(-1).view(np.uint8)
        data = memory[-1204:-4].view(np.int8).reshape(3, 400)
        q = tersor.QuantizedArray(data, q.scale, shape=q.shape, axis=0)
    start = 1 if layout == "unaligned" else 0
    out = memory[start : start + 4800].view(">f4" if layout == "byte-swapped" else "f4")
    out = out.reshape(3, 400)
    assert tersor.dequantize(q, out=out, backend=backend) is out
    np.testing.assert_array_equal(out, want)


def test_quantized_array():
    x = hostile("normal", (4, 6))
    q = tersor.quantize(x, axis=0)
    assert (q.ndim, q.size, q.nbytes, len(q)) == (2, 24, 24 + 16, 4)
    assert (q.axis, q.block_size, q.dtype, q.source_dtype) == (0, None, "int8", "float32")
    assert repr(q) == "QuantizedArray(shape=(4, 6), dtype='int8', axis=0, nbytes=40)"
    assert_identical(np.asarray(q), q.dequantize())
    assert np.asarray(q, np.float64).dtype == np.float64
    assert np.array(q, copy=True).shape == (4, 6)
    with pytest.raises(ValueError, match="copy=False is impossible"):
        np.array(q, copy=False)
    with pytest.raises(AttributeError):
        q.scale = None
    again = tersor.QuantizedArray(q.data, q.scale, shape=(4, 6), axis=0)
    assert_identical(np.asarray(again), np.asarray(q))
    blocks = tersor.quantize(x, dtype="int4", block_size=4)
    assert blocks.axis == 1 and blocks.data.shape == (4, 3) and blocks.scale.shape == (4, 2)
    assert "block_size=4" in repr(blocks)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"dtype": "int5"}, "dtype must be 'int8', 'uint8', 'int4' or 'uint4', got 'int5'"),
        ({"source_dtype": "int8"}, "source_dtype must be 'float16', 'bfloat16'"),
        ({"axis": 2}, "axis must be None or in 0..1, got 2"),
        ({"axis": None}, r"scale must have shape \(\), got \(4,\)"),
        ({"block_size": 0}, r"block_size must be in 1\.\.2\*\*63-1, got 0"),
        ({"axis": None, "block_size": 2}, "block_size=2 needs an axis, got None"),
        ({"shape": (4, 7)}, r"data must have shape \(4, 7\), got \(4, 6\)"),
        ({"zero_point": np.zeros(3, np.int8)}, r"zero_point must have shape \(4,\), got \(3,\)"),
    ],
)
def test_quantized_array_checks_its_parts(change, message):
    fields = {"shape": (4, 6), "axis": 0} | change
    with pytest.raises(ValueError, match=message):
        tersor.QuantizedArray(np.zeros((4, 6), np.int8), np.ones(4, np.float32), **fields)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"data": [[1]]}, "data must be an array, got list"),
        ({"data": np.zeros((4, 6), np.int16)}, "data must be int8, got int16"),
        ({"scale": 1.0}, "scale must be an array, got float"),
        ({"scale": np.ones(4, int)}, "scale must be float16, .*, got int64"),
        ({"zero_point": np.zeros(4, int)}, "zero_point must be int8, got int64"),
        ({"shape": [4, 6]}, r"shape must be a tuple of ints, got \[4, 6\]"),
        ({"axis": 0.0}, "axis must be an int, got 0.0"),
        ({"nan_count": None}, "nan_count must be an int, got None"),
    ],
)
def test_quantized_array_checks_types(change, message):
    parts = {"data": np.zeros((4, 6), np.int8), "scale": np.ones(4), "shape": (4, 6), "axis": 0}
    with pytest.raises(TypeError, match=message):
        tersor.QuantizedArray(**parts | change)


X = np.ones((3, 4), np.float32)


@pytest.mark.parametrize(
    "options, error, message",
    [
        (
            {"dtype": "int16"},
            TypeError,
            "dtype must be one of int8, uint8, int4, uint4, got 'int16'",
        ),
        ({"dtype": 3}, TypeError, "dtype must be one of"),
        ({"axis": 2}, ValueError, r"axis must be in -2..1"),
        ({"axis": 1.0}, TypeError, "axis must be an int"),
        ({"axis": True}, TypeError, "axis must be an int, got True"),
        ({"symmetric": "no"}, TypeError, "symmetric must be True or False, got 'no'"),
        ({"percentile": "99"}, TypeError, "percentile must be a number, got '99'"),
        ({"method": np.ones(3)}, ValueError, "method must be 'absmax'"),
        ({"block_size": 0}, ValueError, r"block_size must be in 1\.\.2\*\*63-1, got 0"),
        ({"block_size": 2**63}, ValueError, r"block_size must be in 1\.\.2\*\*63-1, got 9223"),
        ({"block_size": 2.0}, TypeError, "block_size must be an int, got 2.0"),
        (
            {"method": "best"},
            ValueError,
            "method must be 'absmax', 'percentile', 'mse' or 'entropy'",
        ),
        ({"percentile": 0, "method": "percentile"}, ValueError, "percentile must be above 0"),
        ({"method": "entropy", "block_size": 2}, ValueError, "needs more entries than a block"),
        (
            {"method": "mse", "scale": 1.0},
            ValueError,
            "method must be left out where scale is given",
        ),
        ({"scale": 0.0}, ValueError, "scale must be positive and finite, got 0.0"),
        ({"scale": -1.0}, ValueError, "scale must be positive and finite, got -1.0"),
        ({"scale": np.nan}, ValueError, "scale must be positive and finite, got nan"),
        ({"scale": np.inf}, ValueError, "scale must be positive and finite, got inf"),
        ({"scale": 1e-60}, ValueError, "scale must be positive and finite, got 0.0"),
        ({"scale": [1.0]}, ValueError, r"scale must have shape \(\), got \(1,\)"),
        (
            {"scale": [1.0], "axis": 0},
            ValueError,
            r"scale must have shape \(\) or \(3,\), got \(1,\)",
        ),
        ({"scale": 1j}, TypeError, "scale must be float16"),
        ({"zero_point": 1}, ValueError, "zero_point needs a scale"),
        ({"zero_point": 1, "scale": 1.0}, ValueError, "zero_point needs symmetric=False"),
        (
            {"zero_point": 128, "scale": 1.0, "symmetric": False},
            ValueError,
            r"zero_point must be in -128\.\.127 for int8, got 128",
        ),
        ({"zero_point": 1.0, "scale": 1.0, "symmetric": False}, TypeError, "must be integers"),
        (
            {"zero_point": [1], "scale": 1.0, "symmetric": False},
            ValueError,
            r"must have shape \(\)",
        ),
        (
            {"zero_point": 300, "scale": 1.0, "symmetric": False, "dtype": "uint4"},
            ValueError,
            r"zero_point must be in 0\.\.15 for uint4, got 300",
        ),
        ({"rounding": "up"}, ValueError, "rounding must be 'half_even' or 'stochastic', got 'up'"),
        ({"seed": 1}, ValueError, "seed needs rounding='stochastic'"),
        (
            {"seed": -1, "rounding": "stochastic"},
            ValueError,
            r"seed must be in 0..2\*\*64-1, got -1",
        ),
        ({"seed": 1.5, "rounding": "stochastic"}, TypeError, "seed must be an int, got 1.5"),
        ({"offset": 3}, ValueError, "offset needs rounding='stochastic'"),
        (
            {"offset": [1, 2], "rounding": "stochastic"},
            ValueError,
            r"offset must have shape \(\) or \(3,\), got \(2,\)",
        ),
        ({"offset": -1, "rounding": "stochastic"}, ValueError, r"offset must be in 0\.\.4611"),
        ({"offset": 1.0, "rounding": "stochastic"}, TypeError, "offset must be integers, got fl"),
        ({"compat": "tf"}, ValueError, "compat must be None, 'onnx', 'torch'"),
        ({"compat": "onnx", "rounding": "stochastic"}, ValueError, "has no compat, got 'onnx'"),
        ({"compat": "compressed-tensors", "dtype": "uint8"}, ValueError, "must be int8 or int4"),
        ({"nan": "keep"}, ValueError, "nan must be 'zero_point' or 'raise', got 'keep'"),
    ],
)
def test_errors(options, error, message):
    for function in (tersor.quantize, tersor.fake_quantize):
        with pytest.raises(error, match=message):
            function(X, **options)


@pytest.mark.parametrize("options", [{"axis": 0}, {"axis": -1}, {"block_size": 3}])
def test_one_scale_and_zero_point_stand_for_all(backend, options):
    x, each = hostile("normal", (4, 7)), tersor.quantize(hostile("normal", (4, 7)), **options).scale
    given = {"symmetric": False, "backend": backend, **options}
    got = tersor.quantize(x, scale=0.02, zero_point=-3, **given)
    scale, zero = np.full(each.shape, 0.02), np.full(each.shape, -3)
    want = tersor.quantize(x, scale=scale, zero_point=zero, **given)
    for name in ("data", "scale", "zero_point"):
        assert_identical(getattr(got, name), getattr(want, name))
    assert got.scale.flags.writeable and got.nbytes == want.nbytes
    assert_identical(tersor.fake_quantize(x, scale=0.02, **options)[0], want_of(x, scale, options))


@pytest.mark.parametrize("method", ["absmax", "mse"])
def test_blocks_longer_than_the_axis_take_no_more_memory(backend, method):
    x = hostile("normal", (4, 10))
    for axis, size in ((0, 4), (1, 10)):
        options = {"axis": axis, "method": method, "backend": backend}
        got = tersor.quantize(x, block_size=2**62, **options)
        want = tersor.quantize(x, block_size=size, **options)
        assert_identical(got.data, want.data)
        assert got.scale.shape == want.scale.shape
        assert_identical(tersor.dequantize(got, backend=backend), want.dequantize())


def want_of(x, scale, options):
    return tersor.quantize(x, scale=scale, **options).dequantize()


def test_errors_of_arrays():
    with pytest.raises(ValueError, match="x must have at least one dimension for axis=0, got a 0-"):
        tersor.quantize(1.0, axis=0)
    with pytest.raises(TypeError, match="x must be float16, bfloat16, float32, float64"):
        tersor.quantize(X.astype(complex))
    with pytest.raises(ValueError, match="block_size needs an axis, got a 0-d array"):
        tersor.quantize(1.0, block_size=2)
    with pytest.raises(TypeError, match="x must be float32 with compat='torch', got float64"):
        tersor.quantize(X.astype(float), compat="torch")
    q = tersor.quantize(X)
    with pytest.raises(TypeError, match="q must be a QuantizedArray, got ndarray"):
        tersor.dequantize(X)
    with pytest.raises(TypeError, match=r"dtype must be one of float16.*, got int8"):
        q.dequantize("int8")
    with pytest.raises(ValueError, match=r"out must have shape \(3, 4\), got \(4, 3\)"):
        tersor.dequantize(q, out=np.empty((4, 3), "f"))
    with pytest.raises(TypeError, match=r"dtype of out must be one of float16, .*, got int8"):
        tersor.dequantize(q, out=np.empty((3, 4), np.int8))
    with pytest.raises(TypeError, match=r"dtype must be one of float16, .*, got array"):
        q.dequantize(X)
    with pytest.raises(TypeError, match="out must be an array, got list"):
        tersor.dequantize(q, out=[1.0])
    with pytest.raises(TypeError, match="out must have dtype float64, got float32"):
        tersor.dequantize(q, dtype="float64", out=np.empty((3, 4), "f"))
    read_only = np.empty((3, 4), "f")
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="out must be writeable"):
        tersor.dequantize(q, out=read_only)
    with pytest.raises(ValueError, match=r"out must have shape \(3, 2\), got \(3, 4\)"):
        tersor.quantize(X, dtype="int4", out=np.empty((3, 4), np.uint8))
    with pytest.raises(TypeError, match="out must have dtype int8, got uint8"):
        tersor.quantize(X, out=np.empty((3, 4), np.uint8))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_holds_for_every_array(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=9))
    elements = st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False)
    x = data.draw(hnp.arrays(np.float32, shape, elements=elements))
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    block_size = data.draw(st.none() | st.integers(1, 10))
    dtype = data.draw(st.sampled_from(sorted(DTYPES)))
    symmetric = data.draw(st.booleans())
    options = {"dtype": dtype, "axis": axis, "block_size": block_size, "symmetric": symmetric}
    q = tersor.quantize(x, **options)
    want = tersor.quantize(x, **options, backend="reference")
    assert_identical(q.data, want.data)
    assert_identical(q.scale, want.scale)
    values = np.asarray(q)
    wide, _ = tersor.fake_quantize(q.scale, scale=1.0)  # a QuantizedArray's scales are an array
    assert wide.shape == q.scale.shape
    scale = np.broadcast_to(spread(q), shape).astype(np.float64)
    assert (np.abs(values.astype(np.float64) - x) <= scale * (0.5 + 2**-14)).all()
    zero_point = {} if symmetric else {"zero_point": q.zero_point}
    again = tersor.quantize(values, **options, scale=q.scale, **zero_point)
    assert_identical(again.data, q.data)


def spread(q):
    """The scale of each entry of `q`."""
    scale = np.empty(q.shape, q.scale.dtype)
    for index, where in slices(q.shape, q.axis, q.block_size):
        scale[index] = q.scale[where]
    return scale


def test_torch_tensors_in_and_out():
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(hostile("normal", (4, 6)))
    q = tersor.quantize(x, axis=0, symmetric=False)
    assert isinstance(q.data, torch.Tensor) and q.data.dtype == torch.int8
    assert isinstance(q.scale, torch.Tensor) and isinstance(q.zero_point, torch.Tensor)
    back = q.dequantize()
    assert isinstance(back, torch.Tensor) and q.nbytes == 24 + 16 + 4
    want = tersor.quantize(x.numpy(), axis=0, symmetric=False)
    assert_identical(back.numpy(), np.asarray(want))
    assert_identical(np.asarray(q), np.asarray(want))
    half = tersor.quantize(x.to(torch.bfloat16))
    assert half.dequantize().dtype == torch.bfloat16
    again = tersor.quantize(x, axis=0, symmetric=False, scale=q.scale, zero_point=q.zero_point)
    assert torch.equal(again.data, q.data)
    values, mask = tersor.fake_quantize(x)
    assert mask.dtype == torch.bool and values.dtype == torch.float32
    assert tersor.Calibrator().update(x).scale == x.abs().max().numpy() / np.float32(127)


# The quotient without a division.


def hard_quotients(rng, n):
    """x and scale whose quotient is as near as can be to the middle between two float32, of which
    one is a tie between integers: x / scale = (2 k + 1) / 2 up or down by half a unit."""
    for _ in range(n):
        k = int(rng.integers(0, 250))
        shift = 25 - (2 * k + 1).bit_length()
        for side in (-1, 1):
            middle = ((2 * k + 1) << shift) + side  # 25 bits (24 below a power of two)
            for residue in (-3, -1, 1, 3):
                for bits in (24, 25):
                    scale = residue * pow(middle, -1, 1 << bits) % (1 << 24)
                    x, left = divmod(middle * scale, 1 << bits)
                    x += left > 1 << (bits - 1)
                    if scale >> 23 == 1 and x.bit_length() <= 24:
                        # k + 1/2 is (2 k + 1) << shift units of 2**-(shift + 1)
                        yield float(np.ldexp(float(x), bits - shift - 1)), float(scale)


def test_quotients_are_those_of_division(backend):
    rng = np.random.default_rng(7)
    pairs = list(hard_quotients(rng, 300))
    assert len(pairs) > 500
    near = 0
    for x, scale in pairs:
        for power in (0, -40, 30):
            s = np.float32(scale) * np.float32(2.0**power)
            x32 = np.float32(x * 2.0**power)
            three = np.array([np.nextafter(x32, 0), x32, np.nextafter(x32, np.float32(np.inf))])
            want = np.clip(np.rint(three / s), 0, 255).astype(np.uint8)
            got = tersor.quantize(three, dtype="uint8", scale=s, symmetric=False, backend=backend)
            assert_identical(got.data, want)
        exact = x / scale
        near += abs(exact - np.rint(exact)) > 0.5 - 2**-15
    assert near > len(pairs) // 2  # so that the cases are hard


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("exponent", [-140, -61, -60, -3, 0, 60, 61, 119])
def test_ties_of_every_scale(backend, dtype, exponent):
    rng = np.random.default_rng(8)
    scales = (1 + rng.random(20)).astype(dtype) * dtype(2.0**exponent)
    for scale in scales:
        ties = ((np.arange(-128, 128) + 0.5) * np.float64(scale)).astype(dtype)
        x = np.concatenate(
            [ties, np.nextafter(ties, dtype(0)), np.nextafter(ties, np.copysign(np.inf, ties))]
        )
        with np.errstate(over="ignore"):
            want = np.clip(np.rint(x / scale), -127, 127).astype(np.int8)
        assert_identical(tersor.quantize(x, scale=scale, backend=backend).data, want)
        rows = tersor.quantize(x[None], scale=[scale], axis=0, backend=backend)
        assert_identical(rows.data[0], want)
        _, mask = tersor.fake_quantize(x, scale=scale, backend=backend)
        with np.errstate(over="ignore"):
            assert_identical(mask, np.abs(np.rint(x / scale)) <= 127)


@pytest.mark.parametrize("start", [0, 1, 5])
def test_large_results_are_written_past_the_caches(threads, start):
    """In whole lines, and around them the ordinary way."""
    n = (LARGE >> 2) + 5 * BLOCK + 7
    data = np.random.default_rng(1).integers(-127, 128, n, np.int8)
    q = tersor.QuantizedArray(data, np.array(0.3, np.float32), shape=(n,))
    memory = np.full(n + 16, np.float32(7))
    out = memory[start : start + n]
    tersor.dequantize(q, out=out)
    assert_identical(out, q.data * np.float32(0.3))
    assert (memory[:start] == 7).all() and (memory[start + n :] == 7).all()
    table, scale = data[:-7].reshape(-1, BLOCK), np.full(BLOCK, 3.0, np.float32)
    rows = tersor.QuantizedArray(table, scale, shape=table.shape, axis=1)
    out = out[: rows.size].reshape(rows.shape)
    assert_identical(tersor.dequantize(rows, out=out), rows.data * np.float32(3))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_fake_quantize_by_its_definition(data):
    elements = st.floats(-1000, 1000, width=32) | st.sampled_from([np.nan, np.inf, -np.inf])
    x = data.draw(
        hnp.arrays(np.float32, hnp.array_shapes(max_dims=2, max_side=9), elements=elements)
    )
    scale = np.float32(data.draw(st.sampled_from([0.1, 1.0, 7.0, 1e-30, 1e30])))
    zero = data.draw(st.integers(-128, 127))
    options = {"scale": scale, "zero_point": zero, "symmetric": False}
    with np.errstate(over="ignore"):
        rounded = np.rint(x / scale) + np.float32(zero)
    want = np.where(np.isnan(x), np.float32(zero), np.clip(rounded, -128, 127))
    for backend in ("cpu", "reference"):
        values, mask = tersor.fake_quantize(x, **options, backend=backend)
        assert_identical(mask, (rounded >= -128) & (rounded <= 127))
        np.testing.assert_array_equal(values, (want - np.float32(zero)) * scale)
        q = tersor.quantize(x, **options, backend=backend)
        assert_identical(q.data, want.astype(np.int8))
        np.testing.assert_array_equal(q.dequantize(), values)
