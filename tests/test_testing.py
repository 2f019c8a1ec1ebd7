"""The helpers of tests: they refuse what they must refuse."""

import ml_dtypes
import numpy as np
import pytest

from tersor.testing import (
    KINDS,
    SPECIAL_KINDS,
    assert_identical,
    assert_within_ulp,
    guarded,
    hostile,
    layouts,
    unchanged,
)

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize("kind", KINDS + SPECIAL_KINDS)
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64, np.uint8, bool])
def test_hostile_arrays_are_the_same_every_time(kind, dtype):
    x = hostile(kind, (30, 40), dtype)
    assert x.shape == (30, 40) and x.dtype == dtype and x.flags.c_contiguous
    assert x.tobytes() == hostile(kind, (30, 40), dtype).tobytes()
    if dtype == np.float64:
        assert np.isnan(x).any() == (kind in ("nan", "specials"))
        assert np.isinf(x).any() == (kind in ("inf", "specials"))


@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3, 4)])
def test_layouts_are_equal_arrays(shape):
    x = hostile("normal", shape)
    views = dict(layouts(x))
    assert len(views) == 6
    for view in views.values():
        assert_identical(view, x)
        assert isinstance(view, np.ndarray)
    assert not views["read-only"].flags.writeable
    if x.size > 1:
        assert not views["strided"].flags.c_contiguous and not views["unaligned"].flags.aligned
        assert all(stride < 0 for stride in views["negative strides"].strides)


@pytest.mark.parametrize(
    "other, message",
    [
        (X.astype(np.float64), "dtype float64, expected float32"),
        (X.T, r"shape \(3, 2\), expected \(2, 3\)"),
        (X + 1, "not equal"),
        (np.where(X == 0, np.float32(-0.0), X), "not equal"),
        (np.where(X == 0, np.float32(np.nan), X), "x and y nan location mismatch|not equal"),
    ],
)
def test_assert_identical(other, message):
    assert_identical(X.copy(), X)
    with pytest.raises(AssertionError, match=message):
        assert_identical(other, X)


def test_assert_within_ulp():
    above = np.nextafter(np.float32(1), np.float32(2))
    assert_within_ulp(np.array([above]), [1.0], 1)
    for got, want in (([above], [1.0]), ([np.nan], [1.0]), ([np.inf], [1.0]), ([1.0], [np.nan])):
        with pytest.raises(AssertionError):
            assert_within_ulp(np.array(got, np.float32), want, 0.5)
    assert_within_ulp(np.array([1e-10], np.float32), [0.0], 1, floor=1.0)
    assert_within_ulp(np.array([np.inf], np.float32), [1e39], 0)


def test_memory_that_is_not_ours_is_watched():
    with pytest.raises(AssertionError, match="array number 1 was modified"), unchanged(X, y := +X):
        y[0, 0] = 7
    with guarded((2, 3), np.float32) as out:
        out[...] = X
    with pytest.raises(AssertionError, match="bytes beside"), guarded(3, np.int16) as out:
        np.lib.stride_tricks.as_strided(out, (4,), (2,))[3] = 1


def test_wrong_use_is_refused():
    with pytest.raises(ValueError, match=r"kind must be 'normal', .*, got 'norm'"):
        hostile("norm", 3)
    with pytest.raises(TypeError, match="x must be an array, got list"):
        next(layouts([1, 2]))
    with pytest.raises(TypeError, match="got must hold floats, which have an ulp, got int64"):
        assert_within_ulp([1], [1], 1)
