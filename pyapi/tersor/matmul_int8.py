"""Products of int8 matrices, exact, and linear layers with int8 weights."""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ._backends import array_function, as_array, kernels
from ._dtypes import as_float
from ._quantized import INTEGERS, QuantizedArray, check_out

_INT8 = (np.dtype(np.int8), np.dtype(np.uint8))


@array_function
def matmul_int8(
    a: ArrayLike,
    b: ArrayLike,
    *,
    a_zero_point: ArrayLike | None = None,
    b_zero_point: ArrayLike | None = None,
    out: NDArray[Any] | None = None,
    out_dtype: DTypeLike = np.int32,
    backend: str | None = None,
) -> Any:
    """(a - a_zero_point) @ (b - b_zero_point), exact: nothing wraps or saturates on any CPU.

    Parameters
    ----------
    a : array (..., m, k) or (k,), int8 or uint8
    b : array (..., k, n) or (k,), int8 or uint8
        Leading axes are broadcast, and 1-D operands lose their axis in the result, as in
        np.matmul. Any strides; any of the lengths may be 0.
    a_zero_point : int or array of integers, optional
        One for all, (m,) one a row of `a`, or (..., m, 1); in the range of the dtype of `a`.
    b_zero_point : int or array of integers, optional
        One for all, (n,) one a column of `b`, or (..., 1, n); in the range of the dtype of `b`.
    out : array, optional
        Of the result's shape and dtype; the result is written here and returned.
    out_dtype : np.int32 or np.int64
    backend : str, optional
        Run on this backend instead of the one that owns `a`.

    Returns
    -------
    array (..., m, n) of `out_dtype`; a scalar for two 1-D operands

    Raises
    ------
    TypeError
        `a` or `b` is not int8 or uint8, a zero point is not integer, `out_dtype` is another, or
        not that of `out`.
    ValueError
        Shapes do not fit; a zero point is out of range; k is so large that entries exist for which
        int32 would overflow. Without zero points the largest k is 131,071 for int8 by int8,
        65,793 for uint8 by int8 and 33,025 for uint8 by uint8; out_dtype=np.int64 has no such
        limit.

    Notes
    -----
    The operator MatMulInteger of ONNX, which leaves open what happens on overflow.

    Examples
    --------
    >>> a = np.full((1, 3), -128, np.int8)
    >>> tersor.matmul_int8(a, a.T)
    array([[49152]], dtype=int32)
    """
    left, right = _operand(a, "a"), _operand(b, "b")
    try:
        dtype = np.dtype(out_dtype)
    except TypeError:
        dtype = None
    if dtype not in (np.int32, np.int64):
        raise TypeError(f"out_dtype must be int32 or int64, got {out_dtype!r}")
    dropped = tuple(axis for axis, x in ((-2, left), (-1, right)) if x.ndim == 1)
    left = left[None] if left.ndim == 1 else left
    right = right[:, None] if right.ndim == 1 else right
    k, n = right.shape[-2:]
    if left.shape[-1] != k:
        raise ValueError(f"a and b must agree in k: a has {left.shape[-1]}, b has {k}")
    try:
        batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    except ValueError:
        raise ValueError(
            f"leading axes must broadcast: a has {left.shape[:-2]}, b has {right.shape[:-2]}"
        ) from None
    zeros = (
        _zero_point(a_zero_point, "a_zero_point", left, -1),
        _zero_point(b_zero_point, "b_zero_point", right, -2),
    )
    if dtype == np.int32:
        _check_depth(k, left.dtype, right.dtype, *zeros)
    shape = (*batch, left.shape[-2], n)
    final = tuple(size for i, size in enumerate(shape, -len(shape)) if i not in dropped)
    check_out(out, final, dtype)
    room = None if out is None or not _usable(out, left, right) else out.reshape(shape)
    module = kernels("matmul_int8", left, backend)
    result = module.matmul_int8(left, right, *zeros, dtype, room).reshape(final)
    if out is None:
        return result[()] if result.ndim == 0 else result
    if room is None:
        out[...] = result
    return out


def _operand(x: Any, name: str) -> Any:
    x = as_array(x, name)
    if x.dtype not in _INT8:
        raise TypeError(f"{name} must be int8 or uint8, got {x.dtype}")
    if x.ndim == 0:
        raise ValueError(f"{name} must have at least one axis")
    return x


def _zero_point(value: Any, name: str, x: Any, axis: int) -> Any:
    """`value` as an integer array that broadcasts along `axis` of `x`, its axis of k; None is 0."""
    if value is None:
        return None
    zero = as_array(value, name)
    if zero.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integer, got {zero.dtype}")
    limits = np.iinfo(x.dtype)
    if zero.size and not limits.min <= zero.min() <= zero.max() <= limits.max:
        raise ValueError(f"{name} must be in {limits.min}..{limits.max}, as {x.dtype} is")
    given = zero.shape
    if zero.shape == (1,):
        zero = zero[0]
    elif zero.ndim == 1:
        zero = np.expand_dims(zero, axis)
    shape = [*x.shape]
    shape[axis] = 1
    lengths = zip(zero.shape[::-1], shape[::-1], strict=False)
    if zero.ndim > x.ndim or not all(n in (1, full) for n, full in lengths):
        raise ValueError(
            f"{name} must be one number, ({shape[-3 - axis]},) or {tuple(shape)}, got {given}"
        )
    return zero


def _check_depth(k: int, a: Any, b: Any, a_zero_point: Any, b_zero_point: Any) -> None:
    """Raise if k products of an entry of dtype `a` and one of dtype `b` could leave int32."""
    if k <= (2**31 - 1) // 255**2:  # whatever they are
        return
    ends = []
    for dtype, zero in ((a, a_zero_point), (b, b_zero_point)):
        limits = np.iinfo(dtype)
        some = zero is not None and zero.size > 0
        ends.append(
            (
                limits.min - int(zero.max() if some else 0),
                limits.max - int(zero.min() if some else 0),
            )
        )
    products = [x * y for x in ends[0] for y in ends[1]]
    largest = min((2**31 - (p > 0)) // abs(p) for p in products if p != 0)
    if k > largest:
        raise ValueError(
            f"k must be at most {largest} for {a} by {b} with these zero points, or int32 could "
            f"overflow, got {k}: pass out_dtype=np.int64"
        )


def _usable(out: Any, *inputs: Any) -> bool:
    """Whether a kernel can write to `out` while it reads the inputs."""
    flags = out.flags
    return (
        flags.c_contiguous
        and flags.aligned
        and not any(np.may_share_memory(out, x) for x in inputs)
    )


class PackedInt8:
    """Weights of a linear layer in the order in which the kernels read them, for `linear_int8`.

    Packing costs about as much as one product with a few rows; a layer that is used again is packed
    once. Inside are int8 values (4-bit ones take a byte here), in panels of columns that the
    vectors of this CPU take at once, padded to whole panels; and, for each channel and block, the
    scale, the zero point and the sum of the values. The array itself is not kept. The order
    belongs to the CPU: store the QuantizedArray, and pack it where it runs.

    Parameters
    ----------
    w : QuantizedArray of shape (n, k), any dtype; quantized per tensor, per channel (axis=0), or in
        blocks along k (axis=1)
    backend : str, optional
        Pack for this backend instead of the one that owns `w.data`.

    Attributes
    ----------
    shape : tuple of int
        (n, k).
    nbytes : int
        Bytes of all parts together.

    Raises
    ------
    TypeError
        `w` is not a QuantizedArray.
    ValueError
        `w` is not 2-D, or has scales that differ along k but not in blocks.
    """

    __slots__ = ("_module", "_parts", "nbytes", "shape")

    shape: tuple[int, int]
    nbytes: int
    _module: Any
    _parts: Any

    def __init__(self, w: QuantizedArray, *, backend: str | None = None) -> None:
        _pack(w, self, backend)

    def __repr__(self) -> str:
        return f"PackedInt8(shape={self.shape}, nbytes={self.nbytes})"


@array_function
def _pack(w: QuantizedArray, packed: PackedInt8, backend: str | None) -> None:
    """Fill the attributes of `packed`."""
    if not isinstance(w, QuantizedArray):
        raise TypeError(f"w must be a QuantizedArray, got {type(w).__name__}")
    if len(w.shape) != 2:
        raise ValueError(f"w must have the shape (n, k), got {w.shape}")
    if (w.axis, w.block_size is None) in ((1, True), (0, False)):
        raise ValueError(
            "w must be quantized per tensor, with axis=0, or in blocks along axis 1, "
            f"got axis={w.axis}, block_size={w.block_size}"
        )
    data = as_array(w.data, "w.data")
    if INTEGERS[w.dtype].bits == 4:
        nibbles = kernels("quantize", data, backend)
        data = nibbles.unpack_nibbles(data, w.shape, w.dtype == "int4")
    rows = w.shape[0]

    def by_row(values: Any) -> Any:
        return values if values.ndim == 2 else np.broadcast_to(values.reshape(-1, 1), (rows, 1))

    zero_point = None if w.zero_point is None else by_row(w.zero_point.astype(np.int32))
    packed._module = kernels("matmul_int8", data, backend)
    block_size = w.block_size or max(w.shape[1], 1)
    packed._parts = packed._module.pack(data, by_row(w.scale), zero_point, block_size)
    packed.shape = (rows, w.shape[1])
    packed.nbytes = packed._parts.nbytes


@array_function
def linear_int8(
    x: ArrayLike,
    w: QuantizedArray | PackedInt8,
    bias: ArrayLike | None = None,
    *,
    activations: str = "int8",
    out: NDArray[Any] | None = None,
    backend: str | None = None,
) -> NDArray[Any]:
    """x @ w.T + bias with quantized weights.

    Parameters
    ----------
    x : array (..., k), float16, bfloat16, float32, float64; integers and bools as float64
    w : QuantizedArray of shape (n, k), or PackedInt8
        Weights that are used again are better packed once.
    bias : array (n,), optional
        Any of the dtypes of `x`.
    activations : "int8" or "float"
        "int8": each row of x is quantized, q = round_half_even(x / s) with s = max(abs(x)) / 127
        (as `tersor.quantize(x, axis=0)`); the product of the integers is exact, and
        y = s * sum over blocks of (scale * product) + bias. "float": only the weights are
        quantized; they become floats on the way, and are scaled after their sums (which so
        overflow where max(abs(x)) * 128 * k does).
    out : array, optional
        Of the result's shape and dtype; the result is written here and returned.
    backend : str, optional
        Run on this backend instead of the one that owns `x`.

    Returns
    -------
    array (..., n) of the dtype of `x`
        Scales and sums are in float32, or in float64 where `x` is float64. A row of x with NaN or
        an infinity gives NaN throughout with "int8"; with "float" they spread as in x @ w.T. k = 0
        gives the bias.

    Raises
    ------
    TypeError
        `x` or `bias` is not numeric, `w` is none of the two, `out` has another dtype.
    ValueError
        Shapes do not fit, `w` is quantized another way (see PackedInt8) or packed for another
        backend, or `activations` is another.

    Notes
    -----
    "int8" is the dynamic quantization of torch (quantize_dynamic) and of ONNX models
    (DynamicQuantizeLinear, MatMulInteger), but by row and symmetric, and without the saturation
    that their uint8 by int8 products have on CPUs without VNNI.

    Examples
    --------
    >>> w = tersor.quantize(np.float32([[1, -2, 0], [3, 4, 5]]), axis=0)
    >>> tersor.linear_int8(np.float32([1, 0, 0]), w, activations="float")
    array([1.007874 , 2.992126 ], dtype=float32)
    """
    if activations not in ("int8", "float"):
        raise ValueError(f'activations must be "int8" or "float", got {activations!r}')
    rows: Any = as_float(as_array(x, "x"), "x")
    module = kernels("matmul_int8", rows, backend)
    packed = w if isinstance(w, PackedInt8) else PackedInt8(w, backend=backend)
    if packed._module is not module:
        raise ValueError("w must be packed for the backend that runs: PackedInt8(w, backend=...)")
    n, k = packed.shape
    if rows.ndim == 0 or rows.shape[-1] != k:
        raise ValueError(
            f"x must have the shape (..., {k}), as w has {packed.shape}, got {rows.shape}"
        )
    offset = None if bias is None else as_float(as_array(bias, "bias"), "bias")
    if offset is not None and offset.shape != (n,):
        raise ValueError(f"bias must have the shape ({n},), got {offset.shape}")
    dtype, shape = rows.dtype, (*rows.shape[:-1], n)
    check_out(out, shape, dtype)
    m = prod(rows.shape[:-1])
    rows, scale = rows.reshape(m, k), None
    if activations == "int8":
        rows, scale = _quantized_rows(rows, backend)
    else:
        wide = np.float32 if dtype.itemsize == 2 else dtype
        rows = np.ascontiguousarray(rows, wide)
    direct = out is not None and dtype.itemsize > 2 and _usable(out, rows)
    room = out.reshape(m, n) if out is not None and direct else None
    result: NDArray[Any] = module.linear_int8(rows, scale, packed._parts, offset, room)
    if out is None:
        return result.astype(dtype, copy=False).reshape(shape)
    if room is None:
        out[...] = result.reshape(shape)
    return out


def _quantized_rows(x: Any, backend: str | None) -> tuple[Any, Any]:
    """Each row of x as int8 and its scale, NaN where the row has NaN or an infinity."""
    module = kernels("quantize", x, backend)
    with np.errstate(invalid="ignore", over="ignore"):  # of rows with infinities, or nearly
        q, scale, nan_count = module.quantize_absmax(x, 0, None, np.int8, -127, 127)
    scale[~np.isfinite(scale)] = np.nan
    if nan_count:
        scale[np.isnan(x).any(axis=1)] = np.nan
    return q, scale
