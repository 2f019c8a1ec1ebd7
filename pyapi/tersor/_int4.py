"""4-bit integers, two a byte, in either order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arguments import as_index, check_one_of, check_range
from ._backends import array_function, as_array, kernels

ORDERS = ("low_first", "high_first")


@array_function
def pack_int4(
    x: ArrayLike, *, order: str = "low_first", backend: str | None = None
) -> NDArray[np.uint8]:
    """4-bit integers, two a byte along the last axis.

    Parameters
    ----------
    x : array of int8 or uint8, shape (..., n), at least 1-D
        In -8..7, stored as two's complement, or in 0..15.
    order : "low_first" or "high_first"
        Which half of a byte holds the first of two: the low one, as in ONNX and the `data` of a
        QuantizedArray, or the high one, as in bitsandbytes.
    backend : str, optional
        Run on this backend instead of the one that owns `x`.

    Returns
    -------
    uint8 array, shape (..., ceil(n / 2))
        An odd end is filled with 0.

    Raises
    ------
    TypeError
        `x` is not int8 or uint8.
    ValueError
        `x` is 0-D or out of range; `order` is none of the two.

    Examples
    --------
    >>> tersor.pack_int4(np.array([1, -2, 3], np.int8))
    array([225,   3], dtype=uint8)
    >>> tersor.pack_int4(np.array([1, -2, 3], np.int8), order="high_first")
    array([30, 48], dtype=uint8)

    Notes
    -----
    The int32 words of compressed-tensors ("pack-quantized") hold 8 values each, 8 added to each:
    `pack_int4((x + 8).astype(np.uint8)).view("<i4")`, where n is a multiple of 8.
    """
    a: Any = as_array(x, "x")
    check_one_of(order, ORDERS, "order")
    if a.dtype not in (np.int8, np.uint8):
        raise TypeError(f"x must be int8 or uint8, got {a.dtype}")
    if a.ndim == 0:
        raise ValueError("x must have an axis, got a 0-D array")
    low, high = (-8, 7) if a.dtype == np.int8 else (0, 15)
    check_range(a, low, high, "x", "4 bits")
    packed: NDArray[np.uint8] = kernels("quantize", a, backend).pack_nibbles(a)
    return packed if order == "low_first" else _swapped(packed)


@array_function
def unpack_int4(
    packed: ArrayLike,
    n: int,
    *,
    dtype: str = "int4",
    order: str = "low_first",
    backend: str | None = None,
) -> NDArray[Any]:
    """The n 4-bit integers along the last axis that `pack_int4` packed.

    Parameters
    ----------
    packed : uint8 array, shape (..., ceil(n / 2)), at least 1-D
    n : int
    dtype : "int4" or "uint4"
        Whether the values are in -8..7 or in 0..15.
    order : "low_first" or "high_first"
    backend : str, optional
        Run on this backend instead of the one that owns `packed`.

    Returns
    -------
    int8 array, or uint8 for "uint4", shape (..., n)

    Raises
    ------
    TypeError
        `packed` is not uint8, or `n` no int.
    ValueError
        `n` values do not take as many bytes as the last axis has; a name is unknown.

    Examples
    --------
    >>> tersor.unpack_int4(np.array([30, 48], np.uint8), 3, order="high_first")
    array([ 1, -2,  3], dtype=int8)
    """
    a, n = as_array(packed, "packed"), as_index(n, "n")
    check_one_of(dtype, ("int4", "uint4"), "dtype")
    check_one_of(order, ORDERS, "order")
    if a.dtype != np.uint8:
        raise TypeError(f"packed must be uint8, got {a.dtype}")
    if n < 0 or a.ndim == 0 or a.shape[-1] != -(-n // 2):
        raise ValueError(
            f"packed must have ceil(n / 2) bytes along its last axis for n={n}, got shape {a.shape}"
        )
    module = kernels("quantize", a, backend)
    a = a if order == "low_first" else _swapped(a)
    values: NDArray[Any] = module.unpack_nibbles(a, (*a.shape[:-1], n), dtype == "int4")
    return values


def _swapped(packed: Any) -> Any:
    """The halves of each byte the other way round."""
    return packed << 4 | packed >> 4
