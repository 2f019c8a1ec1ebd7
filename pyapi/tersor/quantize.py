"""Small integers for floats: per tensor, per axis, per block."""

from operator import index
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._backends import array_function, as_array, kernels
from ._dtypes import as_float
from ._quantized import INTEGERS, Integer, QuantizedArray, scale_shape
from ._quantized import dequantize as dequantize
from ._rows import normalize_axis


@array_function
def quantize(
    x: ArrayLike,
    *,
    dtype: str = "int8",
    axis: int | None = None,
    block_size: int | None = None,
    symmetric: bool = True,
    scale: ArrayLike | None = None,
    nan: str = "zero_point",
    backend: str | None = None,
) -> QuantizedArray:
    """Round to small integers: clip(round_half_even(x / scale) + zero_point).

    Examples
    --------
    >>> q = tersor.quantize([[1.0, -2.0], [0.25, 0.0]], axis=0)
    >>> q.data
    array([[  64, -127],
           [ 127,    0]], dtype=int8)
    """
    x = as_float(as_array(x, "x"), "x")
    axis, block_size = check_axis(x.shape, axis, block_size)
    kind = check_dtype(dtype)
    module = kernels("quantize", x, backend)
    low, high = -kind.high, kind.high
    if scale is None:
        data, scales, nan_count = module.quantize_absmax(
            x, axis, block_size, kind.storage, low, high
        )
    else:
        wide = np.float64 if x.dtype == np.float64 else np.float32
        scales = np.asarray(scale, wide)
        if scales.shape != scale_shape(x.shape, axis, block_size):
            want = scale_shape(x.shape, axis, block_size)
            raise ValueError(f"scale must have shape {want}, got {scales.shape}")
        data, nan_count = module.quantize(
            x, scales, None, axis, block_size, kind.storage, low, high
        )
    if not np.isfinite(scales).all():
        raise ValueError("x must be finite where its scale is to be found, got inf")
    if kind.bits == 4:
        data = module.pack_nibbles(data)
    return QuantizedArray(
        data,
        scales,
        shape=x.shape,
        dtype=dtype,
        axis=axis,
        block_size=block_size,
        source_dtype=x.dtype.name,
        nan_count=nan_count,
    )


def check_dtype(dtype: Any) -> Integer:
    """What `dtype`, a name or a NumPy dtype, is in INTEGERS."""
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name not in INTEGERS:
        raise TypeError(f"dtype must be one of {', '.join(INTEGERS)}, got {dtype!r}")
    return INTEGERS[name]


def check_axis(shape: tuple[int, ...], axis: Any, block_size: Any) -> tuple[int | None, int | None]:
    """`axis`, not negative, and `block_size` of an array of `shape`."""
    if block_size is not None:
        try:
            block_size = index(block_size)
        except TypeError:
            raise TypeError(f"block_size must be an int, got {block_size!r}") from None
        if block_size < 1:
            raise ValueError(f"block_size must be at least 1, got {block_size}")
        axis = -1 if axis is None else axis
        if not shape:
            raise ValueError("block_size needs an axis, got a 0-d array")
    return None if axis is None else normalize_axis(axis, len(shape)), block_size
