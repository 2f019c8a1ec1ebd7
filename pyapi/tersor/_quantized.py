"""Small integers with the scales that make them numbers again."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from math import prod
from operator import index
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ._backends import array_function, as_array, kernels
from ._dtypes import FLOATS, bfloat16


class Integer(NamedTuple):
    """A dtype of quantized values: how it is stored, its range, and bits a value."""

    storage: Any
    low: int
    high: int
    bits: int


INTEGERS = {
    "int8": Integer(np.int8, -128, 127, 8),
    "uint8": Integer(np.uint8, 0, 255, 8),
    "int4": Integer(np.int8, -8, 7, 4),
    "uint4": Integer(np.uint8, 0, 15, 4),
}


@dataclass(frozen=True, eq=False, repr=False)
class QuantizedArray:
    """Integers that stand for (data - zero_point) * scale; made by `quantize`.

    `np.asarray(q)` and `q.dequantize()` give the numbers. The fields are public, so that other
    code can build one from a file; their shapes are checked.

    Attributes
    ----------
    data : array
        int8, uint8: of `shape`. int4, uint4: uint8, two values a byte along the last axis, the
        first in the low nibble, a last odd one padded with 0 (ONNX's order).
    scale : array, float32 or float64 (of compat="compressed-tensors" or "torchao" also shorter)
        Per tensor: shape (). Per axis: (shape[axis],). Per block: `shape` with
        ceil(n / block_size) in the place of n = shape[axis].
    zero_point : array or None
        int8 or uint8 (also for the 4-bit dtypes, a value a byte), of the shape of `scale`; None
        stands for 0.
    axis : int or None
        The axis that keeps its own scales, or along which blocks run; not negative.
    block_size : int or None
    shape : tuple of int
        Of the array that was quantized.
    dtype : str
        "int8", "uint8", "int4" or "uint4".
    source_dtype : str
        "float16", "bfloat16", "float32" or "float64": the dtype `dequantize` gives by default.
    nan_count : int
        NaN entries of the array that was quantized: they were stored as the zero point, 0.0.
    """

    data: Any
    scale: Any
    zero_point: Any = None
    _: KW_ONLY
    shape: tuple[int, ...]
    dtype: str = "int8"
    axis: int | None = None
    block_size: int | None = None
    source_dtype: str = "float32"
    nan_count: int = 0

    def __post_init__(self) -> None:
        if self.dtype not in INTEGERS:
            raise ValueError(f"dtype must be one of {', '.join(INTEGERS)}, got {self.dtype!r}")
        if self.source_dtype not in FLOATS:
            raise ValueError(
                f"source_dtype must be one of {', '.join(FLOATS)}, got {self.source_dtype!r}"
            )
        if self.axis is not None and not 0 <= self.axis < len(self.shape):
            raise ValueError(f"axis must be None or in 0..{self.ndim - 1}, got {self.axis}")
        data_shape = tuple(self.shape)
        if INTEGERS[self.dtype].bits == 4 and data_shape:
            data_shape = (*data_shape[:-1], -(-data_shape[-1] // 2))
        if tuple(self.data.shape) != data_shape:
            raise ValueError(f"data must have shape {data_shape}, got {tuple(self.data.shape)}")
        scales = scale_shape(self.shape, self.axis, self.block_size)
        for name in ("scale", "zero_point"):
            part = getattr(self, name)
            if part is not None and tuple(part.shape) != scales:
                raise ValueError(f"{name} must have shape {scales}, got {tuple(part.shape)}")

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of data, scale and zero_point together, as stored."""
        parts = (self.data, self.scale, self.zero_point)
        return sum(int(part.nbytes) for part in parts if part is not None)

    def dequantize(self, dtype: DTypeLike | None = None) -> Any:
        """The numbers, as `tersor.dequantize(q, dtype=dtype)`."""
        return dequantize(self, dtype=dtype)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a QuantizedArray has no floats to share: copy=False is impossible")
        return np.asarray(self.dequantize(), dtype)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d QuantizedArray")
        return self.shape[0]

    def __repr__(self) -> str:
        of = "" if self.axis is None else f", axis={self.axis}"
        of += "" if self.block_size is None else f", block_size={self.block_size}"
        return f"QuantizedArray(shape={self.shape}, dtype={self.dtype!r}{of}, nbytes={self.nbytes})"


def scale_shape(
    shape: tuple[int, ...], axis: int | None, block_size: int | None
) -> tuple[int, ...]:
    """Shape of the scales of an array of `shape`."""
    if axis is None:
        return ()
    if block_size is None:
        return (shape[axis],)
    return (*shape[:axis], -(-shape[axis] // block_size), *shape[axis + 1 :])


def as_index(value: Any, name: str) -> int:
    """`value` as an int; TypeError naming the argument where it is none."""
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, got {value!r}") from None


def float_dtype(dtype: Any, name: str) -> np.dtype[Any]:
    """The NumPy dtype of one of FLOATS; TypeError naming the argument otherwise."""
    try:
        result: np.dtype[Any] = np.dtype(bfloat16() if dtype == "bfloat16" else dtype)
    except TypeError:
        raise TypeError(f"{name} must be one of {', '.join(FLOATS)}, got {dtype!r}") from None
    if result.name not in FLOATS:
        raise TypeError(f"{name} must be one of {', '.join(FLOATS)}, got {result}")
    return result


@array_function
def dequantize(
    q: QuantizedArray,
    *,
    dtype: DTypeLike | None = None,
    out: NDArray[Any] | None = None,
    backend: str | None = None,
) -> NDArray[Any]:
    """The numbers that a QuantizedArray stands for: (data - zero_point) * scale.

    Parameters
    ----------
    q : QuantizedArray
    dtype : dtype, optional
        float16, bfloat16, float32 or float64; `q.source_dtype`, or that of `out`, by default. The
        product is computed in it, or in the dtype of the scales where that is wider (at least
        float32), and rounded once.
    out : array, optional
        Of `q.shape`; the result is written here and returned.
    backend : str, optional
        Run on this backend instead of the one that owns `q.data`.

    Returns
    -------
    array of shape `q.shape`

    Raises
    ------
    TypeError
        `q` is not a QuantizedArray; `dtype` is not a float dtype or not that of `out`.
    ValueError
        `out` has another shape.

    Examples
    --------
    >>> tersor.dequantize(tersor.quantize([1.0, -2.0, 0.5], scale=0.5))
    array([ 1. , -2. ,  0.5])
    """
    if not isinstance(q, QuantizedArray):
        raise TypeError(f"q must be a QuantizedArray, got {type(q).__name__}")
    if dtype is None:
        dtype = q.source_dtype if out is None else out.dtype
    result_dtype = float_dtype(dtype, "dtype")
    check_out(out, q.shape, result_dtype)
    data = as_array(q.data, "data")
    module = kernels("quantize", data, backend)
    if INTEGERS[q.dtype].bits == 4:
        data = module.unpack_nibbles(data, q.shape, q.dtype == "int4")
    where = (q.axis, q.block_size)
    result: NDArray[Any] = module.dequantize(data, q.scale, q.zero_point, *where, result_dtype, out)
    return result


def check_out(out: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise unless `out` is None or a writeable array of `shape` and `dtype`."""
    if out is None:
        return
    if out.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {out.shape}")
    if out.dtype != dtype:
        raise TypeError(f"out must have dtype {np.dtype(dtype)}, got {out.dtype}")
    if not out.flags.writeable:
        raise ValueError("out must be writeable")
