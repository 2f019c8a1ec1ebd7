"""ONNX's QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ._arguments import as_index, check_out, check_range, is_room, placed
from ._backends import array_function, as_array, beside, kernels
from ._dtypes import as_float, name_of
from ._quantized import check_scale, result_float, scale_shape
from ._rows import normalize_axis

_RANGES = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int4": (-8, 7),
    "uint4": (0, 15),
}
_LARGEST = float(np.finfo(np.float32).max)
_INT32 = {"int32": (-(2**31), 2**31 - 1)}  # of accumulators, only to be dequantized


@array_function
def quantize_linear(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: DTypeLike | str | None = None,
    saturate: bool = True,
    out: NDArray[Any] | None = None,
    backend: str | None = None,
) -> NDArray[Any]:
    """ONNX's QuantizeLinear: saturate(round_half_even(x / scale) + zero_point).

    Parameters
    ----------
    x : array, any shape, float16, bfloat16, float32, float64; integers as float64
    scale : array of floats (integers as float64), positive and finite
        Of one entry, per tensor; 1-D of length x.shape[axis], per axis; with a block_size of the
        shape of `x` with ceil(n / block_size) in the place of n = x.shape[axis].
    zero_point : array, optional
        Of the shape of `scale`; its dtype is that of the result. Python ints, alone or in lists,
        have the dtype that `output_dtype` names, or uint8. 0 if None.
    axis : int
        Of per axis and blocked scales; not looked at for one scale.
    block_size : int
        0: no blocks.
    output_dtype : optional
        int8, uint8, int16, uint16, int4, uint4 (the last two are ml_dtypes', a value a byte);
        that of `zero_point` by default, and uint8 without one.
    saturate : True
        For float 8 results only, which are not supported.
    out : array, optional
        Of the shape of `x` and of the dtype of the result, which is written here and returned.
    backend : str, optional
        Run on this backend instead of the one that owns `x`.

    Returns
    -------
    array of integers of the shape of `x`
        NaN gives the zero point (ONNX leaves it open); infinities the end of the range. The
        quotient is computed in float32, of float64 in float64.

    Raises
    ------
    TypeError
        A dtype is none of those above, or `output_dtype` is not that of `zero_point`.
    ValueError
        `scale` is not positive and finite; a shape, `axis` or `block_size` does not fit; a Python
        int is not in the range of its dtype.

    Examples
    --------
    >>> tersor.quantize_linear([0.0, 2.0, 3.0, 1000.0, -254.0], 2.0, np.uint8(128))
    array([128, 129, 130, 255,   1], dtype=uint8)
    >>> tersor.quantize_linear([0.0, 2.0, -300.0], 2.0, 0, output_dtype="int8")
    array([   0,    1, -128], dtype=int8)
    """
    a: Any = as_float(as_array(x, "x"), "x")
    if saturate is not True:
        raise ValueError(f"saturate must be True, got {saturate!r}: it is for float 8 results")
    name = "uint8" if output_dtype is None else _integer_name(output_dtype, "output_dtype", _RANGES)
    s, zero = _parameters(scale, zero_point, name, _RANGES)
    along, block = _granularity(a.shape, s, axis, block_size)
    if zero is not None and name_of(zero.dtype) != name:
        if output_dtype is not None:
            raise TypeError(f"output_dtype must be that of zero_point, got {name}, {zero.dtype}")
        name = name_of(zero.dtype)
    if name.endswith("int4") and not isinstance(a, np.ndarray):
        raise TypeError(f"output_dtype must be of 8 or 16 bits on a GPU: CuPy has no {name} arrays")
    check_scale(s)
    dtype = _integer_dtype(name)
    check_out(out, a.shape, dtype)
    shape = scale_shape(a.shape, along, block)
    s = s.reshape(shape).astype(np.float64 if a.dtype == np.float64 else np.float32, copy=False)
    zero = None if zero is None else zero.reshape(shape).astype(np.int32)
    storage = np.dtype(name.replace("int4", "int8"))
    room = out if storage == dtype and is_room(out, a, s) else None
    q, _ = kernels("quantize", a, backend).quantize(
        a, s, zero, along, block, storage, *_RANGES[name], "divide", None, None, room
    )
    result: NDArray[Any] = placed(q if storage == dtype else q.astype(dtype), out)
    return result


@array_function
def dequantize_linear(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: DTypeLike | str | None = None,
    out: NDArray[Any] | None = None,
    backend: str | None = None,
) -> NDArray[Any]:
    """ONNX's DequantizeLinear: (x - zero_point) * scale.

    Parameters
    ----------
    x : array, any shape, int8, uint8, int16, uint16, int32, int4, uint4
        The last two are ml_dtypes', a value a byte.
    scale, axis, block_size, backend
        As in `quantize_linear`, but `scale` may have any value.
    zero_point : array, optional
        Of the dtype of `x` (or Python ints in its range) and the shape of `scale`. 0 if None.
    output_dtype : optional
        float16, bfloat16, float32 or float64; that of `scale`, or of `out`, by default.
    out : array, optional
        Of the shape of `x`; the result is written here and returned.

    Returns
    -------
    array of floats of the shape of `x`
        Computed in the wider of the dtypes of `scale` and the result, at least float32.

    Raises
    ------
    TypeError
        A dtype is none of those above, or that of `zero_point` is not that of `x`.
    ValueError
        A shape, `axis` or `block_size` does not fit; a Python int is not in the range of `x`.

    Examples
    --------
    >>> tersor.dequantize_linear(np.array([0, 3, 128, 255], np.uint8), 2.0, np.uint8(128))
    array([-256., -250.,    0.,  254.])
    """
    a: Any = as_array(x, "x")
    ranges = _RANGES | _INT32
    name = _integer_name(a.dtype, "x", ranges)
    s, zero = _parameters(scale, zero_point, name, ranges)
    along, block = _granularity(a.shape, s, axis, block_size)
    if zero is not None and name_of(zero.dtype) != name:
        raise TypeError(f"zero_point must have the dtype of x, {a.dtype}, got {zero.dtype}")
    dtype = result_float(output_dtype, "output_dtype", s.dtype, out)
    check_out(out, a.shape, dtype)
    shape = scale_shape(a.shape, along, block)
    s, zero = s.reshape(shape), None if zero is None else zero.reshape(shape).astype(np.int32)
    a = a.astype(_integer_dtype(name.replace("int4", "int8")), copy=False)  # native byte order
    room = out if is_room(out, a, s) else None
    numbers = kernels("quantize", a, backend).dequantize(a, s, zero, along, block, dtype, room)
    result: NDArray[Any] = placed(numbers, out)
    return result


@array_function
def dynamic_quantize_linear(
    x: ArrayLike, *, backend: str | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
    """ONNX's DynamicQuantizeLinear: uint8 by the range of `x`, 0 counted in.

    scale = (max - min) / 255, zero_point = clip(round_half_even(-min / scale), 0, 255),
    y = clip(round_half_even(x / scale) + zero_point, 0, 255).

    Parameters
    ----------
    x : array, any shape, float16, bfloat16, float32; float64 and integers are rounded to float32
    backend : str, optional
        Run on this backend instead of the one that owns `x`.

    Returns
    -------
    y : uint8 array of the shape of `x`
        NaN gives the zero point.
    scale : float32 array of shape ()
        1 where `x` is nothing but zeros, or empty.
    zero_point : uint8 array of shape ()

    Raises
    ------
    TypeError
        `x` is complex or not numeric.
    ValueError
        `x` has an infinity.

    Examples
    --------
    >>> y, scale, zero_point = tersor.dynamic_quantize_linear([0.0, 2.0, -3.0, -2.5, 1.34, 0.5])
    >>> y, scale, zero_point
    (array([153, 255,   0,  26, 221, 179], dtype=uint8), array(0.01960784, dtype=float32),
     array(153, dtype=uint8))
    """
    a: Any = as_float(as_array(x, "x"), "x")
    if a.dtype != np.float32:
        with np.errstate(over="ignore"):  # an infinity is refused below
            a = a.astype(np.float32)
    module = kernels("quantize", a, backend)
    low, high, _ = module.min_max(a, None, None)
    if not (isfinite(low) and isfinite(high)):
        raise ValueError("x must be finite, or its range has no scale, got an infinity")
    low, high = min(low.item(), 0.0), max(high.item(), 0.0)
    wide = high - low  # in float64, where it can not overflow
    scale: Any = np.float32(wide if wide <= _LARGEST else 0) / np.float32(255)
    if wide == 0:
        scale = np.float32(1)
    elif scale == 0:
        raise ValueError(f"x must have a range whose 255th part is a float32, got {low}..{high}")
    zero = np.asarray(min(max(np.rint(np.float32(-low) / scale), 0), 255), np.uint8)
    scale = np.asarray(scale)
    y, _ = module.quantize(a, scale, zero, None, None, np.uint8, 0, 255, "divide", None)
    return y, beside(a, scale), beside(a, zero)


def _granularity(
    shape: tuple[int, ...], scale: Any, axis: int, block_size: int
) -> tuple[int | None, int | None]:
    """axis and block_size as the kernels take them, from the shape of the scales."""
    block_size = as_index(block_size, "block_size")
    if block_size:
        if not 0 <= block_size < 2**63:
            raise ValueError(f"block_size must be in 0..2**63-1, got {block_size}")
        axis = normalize_axis(axis, len(shape), "x")
        want = scale_shape(shape, axis, block_size)
        if scale.shape != want:
            raise ValueError(f"scale must have shape {want}, got {scale.shape}")
        return axis, block_size
    if scale.shape in ((), (1,)):
        return None, None
    axis = normalize_axis(axis, len(shape), "x")
    if scale.shape != (shape[axis],):
        raise ValueError(f"scale must have shape () or ({shape[axis]},), got {scale.shape}")
    return axis, None


def _parameters(scale: Any, zero_point: Any, name: str, ranges: Any) -> tuple[Any, Any]:
    """Scale and zero point as arrays of one shape; Python ints become integers of dtype `name`."""
    scale = as_array(scale, "scale")
    if scale.dtype == bool:
        raise TypeError("scale must be floats or integers, got bool")
    scale = as_float(scale, "scale")
    if zero_point is None:
        return scale, None
    is_python = not hasattr(zero_point, "dtype")
    zero_point = as_array(zero_point, "zero_point")
    if is_python and zero_point.dtype.kind in "iu":
        low, high = ranges[name]
        check_range(zero_point, low, high, "zero_point", name)
        zero_point = zero_point.astype(_integer_dtype(name))
    _integer_name(zero_point.dtype, "zero_point", ranges)
    if zero_point.shape != scale.shape and not zero_point.size == scale.size == 1:
        raise ValueError(f"zero_point must have shape {scale.shape}, got {zero_point.shape}")
    return scale, zero_point


def _integer_name(dtype: Any, argument: str, names: Iterable[str]) -> str:
    try:
        name = dtype if isinstance(dtype, str) else name_of(np.dtype(dtype))
    except (TypeError, ValueError):
        name = f"{dtype!r:.60}"
    if name in names:
        return name
    raise TypeError(f"{argument} must be one of {', '.join(names)}, got {name}")


def _integer_dtype(name: str) -> Any:
    if name not in ("int4", "uint4"):
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError:
        raise ImportError(f"{name} needs ml_dtypes: pip install 'tersor[models]'") from None
    return np.dtype(getattr(ml_dtypes, name))
