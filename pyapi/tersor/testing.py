"""Inputs that hurt and comparisons that are strict, for tests of array kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arguments import check_array, check_one_of

KINDS = (
    "normal",
    "ties",
    "constant",
    "leading_bits",
    "ascending",
    "descending",
    "zeros",
    "denormal",
    "extremes",
)
SPECIAL_KINDS = ("inf", "nan", "specials")


def hostile(kind: str, shape: int | tuple[int, ...], dtype: Any = np.float32, seed: int = 0) -> Any:
    """An array of one of KINDS or SPECIAL_KINDS: the same for the same arguments.

    normal: N(0, 1), or the full range of an integer dtype; ties: five distinct values; constant:
    one; leading_bits: alike but for the last bits; ascending, descending: sorted; zeros: 0.0 and
    -0.0 mixed; denormal: below the smallest normal number; extremes: the largest and smallest
    finite values; inf: normal with 10 % infinities; nan: with 10 % NaN; specials: with NaN, inf,
    -inf, 0.0 and -0.0. Kinds that a dtype can not show (integers have no NaN) fall back to ties.
    """
    check_one_of(kind, KINDS + SPECIAL_KINDS, "kind")
    dtype = np.dtype(dtype)
    rng = np.random.default_rng([seed, *kind.encode()])
    n = int(np.prod(shape))
    is_float = dtype.kind not in "iub"
    if not is_float and kind in ("denormal", *SPECIAL_KINDS):
        kind = "ties"
    x: Any
    if kind == "ties":
        x = rng.choice(np.array([0, 1, 2, 3, 5]), n)
        if dtype.kind != "u" and dtype.kind != "b":
            x = x - 2
    elif kind == "constant":
        x = np.full(n, 1)
    elif kind == "leading_bits":
        x = 1024 + rng.integers(0, 4, n) if is_float else 96 + rng.integers(0, 4, n)
    elif kind == "zeros":
        x = np.where(rng.random(n) < 0.5, 0.0, -0.0) if is_float else np.zeros(n)
    elif kind == "denormal":
        tiny = float(_finfo(dtype).smallest_subnormal)
        x = rng.integers(-100, 100, n) * tiny
    elif kind == "extremes":
        info: Any = _finfo(dtype) if is_float else None
        if dtype.kind in "iu":
            info = np.iinfo(dtype)
        ends = np.array([0, 1], bool) if info is None else np.array([info.min, info.max], dtype)
        x = rng.choice(ends, n)
    elif is_float:
        x = rng.standard_normal(n)
        if kind == "inf":
            x[rng.random(n) < 0.1] = np.inf
            x[rng.random(n) < 0.1] *= -1
        elif kind == "nan":
            x[rng.random(n) < 0.1] = np.nan
        elif kind == "specials":
            hit = rng.random(n) < 0.3
            x[hit] = rng.choice(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0]), int(hit.sum()))
    elif dtype.kind == "b":
        x = rng.random(n) < 0.5
    else:
        limits = np.iinfo(dtype)
        x = rng.integers(limits.min, limits.max, n, dtype=dtype, endpoint=True)
    if kind in ("ascending", "descending"):
        x = np.sort(x)[:: -1 if kind == "descending" else 1]
    return np.array(x.astype(dtype).reshape(shape), order="C")


def layouts(x: NDArray[Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Arrays equal to `x` with other memory layouts, each with its name."""
    check_array(x, "x")
    yield "C", x.copy("C")
    yield "F", x.copy("F")
    padded = np.zeros(tuple(2 * n for n in x.shape), x.dtype)
    # The ... makes a view also of 0-D arrays, not a number.
    second: Any = (..., *(slice(None, None, 2) for _ in x.shape))
    every_second = padded[second]
    every_second[...] = x
    yield "strided", every_second
    backwards: Any = (..., *(slice(None, None, -1) for _ in x.shape))
    yield "negative strides", x[backwards].copy()[backwards]
    raw = np.zeros(x.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(x.dtype).reshape(x.shape) if x.size else x.copy()
    unaligned[...] = x
    yield "unaligned", unaligned
    read_only = x.copy()
    read_only.flags.writeable = False
    yield "read-only", read_only


@contextmanager
def unchanged(*arrays: NDArray[Any]) -> Iterator[None]:
    """Fail if the block modified one of `arrays`."""
    before = [a.tobytes() for a in arrays]
    yield
    for i, (a, bytes_) in enumerate(zip(arrays, before, strict=True)):
        if a.tobytes() != bytes_:
            raise AssertionError(f"array number {i} was modified")


@contextmanager
def guarded(shape: int | tuple[int, ...], dtype: Any) -> Iterator[Any]:
    """An array to write into; fail if the block wrote beside it."""
    dtype = np.dtype(dtype)
    n = int(np.prod(shape)) * dtype.itemsize
    raw = np.full(n + 256, 0xA5, np.uint8)
    yield raw[128 : 128 + n].view(dtype).reshape(shape)
    if not ((raw[:128] == 0xA5).all() and (raw[128 + n :] == 0xA5).all()):
        raise AssertionError("bytes beside the array were overwritten")


def assert_identical(got: Any, want: Any) -> None:
    """Same type, dtype, shape and values; NaN equals NaN, 0.0 does not equal -0.0."""
    __tracebackhide__ = True
    got_array, want_array = np.asarray(got), np.asarray(want)
    if got_array.dtype != want_array.dtype:
        raise AssertionError(f"dtype {got_array.dtype}, expected {want_array.dtype}")
    if got_array.shape != want_array.shape:
        raise AssertionError(f"shape {got_array.shape}, expected {want_array.shape}")
    if want_array.dtype.name == "bfloat16":  # NumPy does not see that its NaN are equal
        got_array, want_array = got_array.astype(np.float32), want_array.astype(np.float32)
    np.testing.assert_array_equal(got_array, want_array)
    if want_array.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(got_array), np.signbit(want_array))


def assert_within_ulp(got: Any, want: Any, ulp: float, floor: float = 0.0) -> None:
    """`got` within `ulp` spacings of its dtype of the float64 array `want`.

    NaN and infinities must be the same. `floor` is the magnitude below which the spacing no longer
    shrinks: for sums whose terms cancel, the size of the terms.
    """
    __tracebackhide__ = True
    got_array, want64 = np.asarray(got), np.asarray(want, np.float64)
    if got_array.shape != want64.shape:
        raise AssertionError(f"shape {got_array.shape}, expected {want64.shape}")
    if got_array.dtype.kind in "iub":
        raise TypeError(f"got must hold floats, which have an ulp, got {got_array.dtype}")
    info = _finfo(got_array.dtype)
    got64 = got_array.astype(np.float64)
    overflow = np.abs(want64) > float(info.max) * (1 + float(info.eps) / 2)
    want64 = np.where(overflow, np.copysign(np.inf, want64), want64)
    finite = np.isfinite(want64)
    np.testing.assert_array_equal(got64[~finite], want64[~finite])
    size = np.maximum(np.maximum(np.abs(want64), floor), float(info.smallest_normal))
    spacing = np.exp2(np.floor(np.log2(size[finite]))) * float(info.eps)
    error = np.abs(got64[finite] - want64[finite]) / spacing
    if error.size and not error.max() <= ulp:  # not: a NaN in got
        i = int(np.nanargmax(np.where(np.isnan(error), np.inf, error)))
        raise AssertionError(
            f"{error[i]:.3g} ulp at finite entry {i}: got {got64[finite][i]!r}, "
            f"expected {want64[finite][i]!r}, allowed {ulp}"
        )


def _finfo(dtype: Any) -> Any:
    if np.dtype(dtype).name == "bfloat16":
        import ml_dtypes

        finfo: Any = ml_dtypes.finfo
        return finfo(dtype)
    return np.finfo(dtype)
