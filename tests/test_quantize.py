import numpy as np
import pytest

import tersor
from tersor.testing import assert_identical, hostile, layouts, unchanged

SHAPES = [(1,), (5,), (4, 6), (3, 1, 5), (70, 1031), (2, 3, 1), (3, 0), (0, 4), ()]


def plain(x, axis, block_size, largest=127):
    """Symmetric quantization, one slice that shares a scale at a time."""
    x = np.asarray(x, np.float32)
    q = np.zeros(x.shape, np.int8)
    if axis is None:
        groups = [np.s_[...]]
    else:
        step = block_size or 1
        groups = [
            (slice(None),) * axis + (slice(i, i + step),) for i in range(0, x.shape[axis], step)
        ]
    scales = []
    for g in groups:
        part = x[g]
        keep = axis if block_size else None
        absmax = np.abs(part).max(axis=keep, keepdims=True, initial=0)
        scale = np.where(absmax == 0, np.float32(1), absmax / np.float32(largest))
        q[g] = np.rint(part / scale)
        scales.append(scale if block_size else scale.reshape(1 if axis is not None else ()))
    if axis is None:
        return q, scales[0]
    return q, np.concatenate(scales, axis if block_size else 0) if scales else np.ones(0, "f")


@pytest.mark.parametrize("shape", SHAPES)
def test_symmetric_int8(backend, shape):
    x = hostile("normal", shape)
    for axis in (None, *range(len(shape))):
        for block_size in (None, 1, 2, 32) if axis is not None else (None,):
            q = tersor.quantize(x, axis=axis, block_size=block_size, backend=backend)
            data, scale = plain(x, axis, block_size)
            assert_identical(q.data, data)
            if x.size:
                assert_identical(q.scale, scale)
            again = tersor.quantize(
                x, axis=axis, block_size=block_size, scale=q.scale, backend=backend
            )
            assert_identical(again.data, data)
            error = np.abs(q.dequantize() - x)
            assert error.max(initial=0) <= 0.5001 * q.scale.max(initial=0)
            assert_identical(tersor.dequantize(q, backend="reference"), np.asarray(q))


def test_layouts(backend):
    x = hostile("normal", (9, 33))
    want = tersor.quantize(x, axis=0, block_size=4)
    for _, view in layouts(x):
        with unchanged(view):
            assert_identical(tersor.quantize(view, axis=0, block_size=4).data, want.data)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (8,), (3, 5), (4, 8193), (5, 0)])
def test_int4_is_packed_low_nibble_first(backend, shape):
    x = hostile("normal", shape)
    q = tersor.quantize(x, dtype="int4", backend=backend)
    values, _ = plain(x, None, None, 7)
    nibbles = values.view(np.uint8) & 15
    for index in np.ndindex(shape):
        byte = q.data[(*index[:-1], index[-1] // 2)] if index else q.data
        assert (byte >> 4 * (index[-1] % 2) if index else byte) & 15 == nibbles[index]
        if index and index[-1] > 20:
            break
    assert_identical(np.asarray(q), np.asarray(values * q.scale))
