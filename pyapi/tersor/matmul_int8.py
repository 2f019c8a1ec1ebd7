"""Products of int8 matrices, exact, and linear layers with int8 weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ._arguments import check_out, check_range, is_room, placed
from ._backends import array_function, as_array, kernels
from ._linear_int8 import PackedInt8 as PackedInt8
from ._linear_int8 import linear_int8 as linear_int8
from ._quantized import QuantizedArray

_INT8 = (np.dtype(np.int8), np.dtype(np.uint8))


@array_function
def matmul_int8(
    a: ArrayLike,
    b: ArrayLike,
    *,
    a_zero_point: ArrayLike | None = None,
    b_zero_point: ArrayLike | None = None,
    out: NDArray[Any] | None = None,
    out_dtype: DTypeLike = "int32",
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
        `a` or `b` is not int8 or uint8 (a QuantizedArray is neither: its `data` is, or call
        `linear_int8`), a zero point is not integer, `out_dtype` is another, or not that of `out`.
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
    dtype = _out_dtype(out_dtype)
    dropped: tuple[int, ...] = ()
    if left.ndim == 1 or right.ndim == 1:
        dropped = tuple(axis for axis, x in ((-2, left), (-1, right)) if x.ndim == 1)
        left = left[None] if left.ndim == 1 else left
        right = right[:, None] if right.ndim == 1 else right
    k, n = right.shape[-2:]
    if left.shape[-1] != k:
        raise ValueError(f"a and b must agree in k: a has {left.shape[-1]}, b has {k}")
    batch: tuple[int, ...] = ()
    if left.ndim > 2 or right.ndim > 2:
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
    shape = final = (*batch, left.shape[-2], n)
    if dropped:
        final = tuple(size for i, size in enumerate(shape, -len(shape)) if i not in dropped)
    check_out(out, final, dtype)
    room = out.reshape(shape) if is_room(out, left, right, *zeros) else None
    module = kernels("matmul_int8", left, backend)
    result = module.matmul_int8(left, right, *zeros, dtype, room)
    if room is not None:
        return out
    result = result.reshape(final) if dropped else result
    return result[()] if result.ndim == 0 and out is None else placed(result, out)


_OUT_DTYPES: dict[str, np.dtype[Any]] = {name: np.dtype(name) for name in ("int32", "int64")}


def _out_dtype(value: Any) -> np.dtype[Any]:
    if isinstance(value, str) and value in _OUT_DTYPES:
        return _OUT_DTYPES[value]
    try:
        name = "" if value is None else np.dtype(value).name
    except (TypeError, ValueError):
        name = ""
    if name not in _OUT_DTYPES:
        raise TypeError(f"out_dtype must be int32 or int64, got {value!r:.60}")
    return _OUT_DTYPES[name]


def _operand(x: Any, name: str) -> Any:
    if isinstance(x, QuantizedArray):
        raise TypeError(
            f"{name} must be int8 or uint8, got a QuantizedArray: pass the data and zero_point of "
            "one in 8 bits, or call linear_int8, which takes it whole"
        )
    x = as_array(x, name)
    if x.dtype not in _INT8:
        raise TypeError(f"{name} must be int8 or uint8, got {x.dtype}")
    if x.ndim == 0:
        raise ValueError(f"{name} must have at least one axis, got a 0-d array")
    return x


def _zero_point(value: Any, name: str, x: Any, axis: int) -> Any:
    """`value` as an integer array that broadcasts along `axis` of `x`, its axis of k; None is 0."""
    if value is None:
        return None
    zero = as_array(value, name)
    if zero.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integer, got {zero.dtype}")
    limits = np.iinfo(x.dtype)
    check_range(zero, limits.min, limits.max, name, x.dtype.name)
    given = zero.shape
    if zero.shape == (1,):
        zero = zero.reshape(())
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
