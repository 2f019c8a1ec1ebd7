"""Small integers with the scales that make them numbers again."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from math import inf, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ._arguments import as_index, check_array, check_one_of, check_out, is_room, placed
from ._backends import array_function, as_array, kernels
from ._dtypes import FLOATS, bfloat16, name_of


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
    code can build one from a file; their dtypes and shapes are checked.

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
        check_one_of(self.dtype, tuple(INTEGERS), "dtype")
        check_one_of(self.source_dtype, FLOATS, "source_dtype")
        if not isinstance(self.shape, tuple):
            raise TypeError(f"shape must be a tuple of ints, got {self.shape!r:.60}")
        if self.axis is not None and not 0 <= as_index(self.axis, "axis") < self.ndim:
            raise ValueError(f"axis must be None or in 0..{self.ndim - 1}, got {self.axis}")
        if self.block_size is not None:
            if not 1 <= as_index(self.block_size, "block_size") < 2**63:
                raise ValueError(f"block_size must be in 1..2**63-1, got {self.block_size}")
            if self.axis is None:
                raise ValueError(f"block_size={self.block_size} needs an axis, got None")
        as_index(self.nan_count, "nan_count")
        kind = INTEGERS[self.dtype]
        byte = np.dtype(kind.storage).name
        shape, dtype = data_of(self.shape, kind)
        _check_part(self.data, "data", shape, (dtype.name,))
        scales = scale_shape(self.shape, self.axis, self.block_size)
        _check_part(self.scale, "scale", scales, FLOATS)
        if self.zero_point is not None:
            _check_part(self.zero_point, "zero_point", scales, (byte,))

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


def data_of(shape: tuple[int, ...], kind: Integer) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of the integers of an array of `shape`, as stored."""
    if kind.bits == 8:
        return shape, np.dtype(kind.storage)
    return (*shape[:-1], *(-(-n // 2) for n in shape[-1:])), np.dtype(np.uint8)


def quantized(data: Any, scale: Any, zero_point: Any, **fields: Any) -> QuantizedArray:
    """A QuantizedArray of parts that are known to fit: checking them takes longer than a kernel."""
    q = object.__new__(QuantizedArray)
    q.__dict__.update(fields, data=data, scale=scale, zero_point=zero_point)
    return q


def _check_part(x: Any, name: str, shape: tuple[int, ...], dtypes: tuple[str, ...]) -> None:
    """Raise unless `x` is an array, which may be a tensor, of `shape` and one of `dtypes`."""
    if not (hasattr(x, "dtype") and hasattr(x, "shape")):
        raise TypeError(f"{name} must be an array, got {type(x).__name__}")
    dtype = getattr(x.dtype, "name", str(x.dtype).removeprefix("torch."))
    if dtype not in dtypes:
        raise TypeError(f"{name} must be {', '.join(dtypes)}, got {dtype}")
    if tuple(x.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(x.shape)}")


def scale_shape(
    shape: tuple[int, ...], axis: int | None, block_size: int | None
) -> tuple[int, ...]:
    """Shape of the scales of an array of `shape`."""
    if axis is None:
        return ()
    if block_size is None:
        return (shape[axis],)
    return (*shape[:axis], -(-shape[axis] // block_size), *shape[axis + 1 :])


def check_scale(scale: Any) -> None:
    """ValueError unless all of array `scale` is positive and finite."""
    if type(scale) is np.ndarray and scale.size:  # NaN is least and largest
        if scale.ndim == 0 and 0 < scale.item() < inf:
            return
        if scale.min() > 0 and scale.max() < inf:
            return
    wrong = scale[~(np.isfinite(scale) & (scale > 0))]
    if wrong.size:
        raise ValueError(f"scale must be positive and finite, got {wrong[0]!s}")


_NATIVE = {name: np.dtype(name) for name in ("float16", "float32", "float64")}


def float_dtype(dtype: Any, name: str) -> np.dtype[Any]:
    """The NumPy dtype of one of FLOATS; TypeError naming the argument otherwise."""
    if isinstance(dtype, str) and dtype in _NATIVE:
        return _NATIVE[dtype]
    try:
        is_short = isinstance(dtype, str) and dtype == "bfloat16"
        result: np.dtype[Any] = np.dtype(bfloat16() if is_short else dtype)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be one of {', '.join(FLOATS)}, got {dtype!r:.60}") from None
    if name_of(result) not in FLOATS:
        raise TypeError(f"{name} must be one of {', '.join(FLOATS)}, got {result}")
    return result if result.isnative else result.newbyteorder("=")


def result_float(dtype: Any, name: str, default: Any, out: Any) -> np.dtype[Any]:
    """The dtype that is asked for, or that of `out`, or the default."""
    if dtype is None and out is not None:
        check_array(out, "out")
        return float_dtype(out.dtype, "dtype of out")
    return float_dtype(default if dtype is None else dtype, name)


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
    result_dtype = result_float(dtype, "dtype", q.source_dtype, out)
    check_out(out, q.shape, result_dtype)
    data = as_array(q.data, "data")
    module = kernels("quantize", data, backend)
    if INTEGERS[q.dtype].bits == 4:
        data = module.unpack_nibbles(data, q.shape, q.dtype == "int4")
    where = (q.axis, q.block_size)
    room = out if is_room(out, data, q.scale, q.zero_point) else None
    numbers = module.dequantize(data, q.scale, q.zero_point, *where, result_dtype, room)
    result: NDArray[Any] = placed(numbers, out)
    return result
