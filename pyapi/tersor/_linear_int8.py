"""Linear layers with int8 weights."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arguments import check_one_of, check_out, is_room, placed
from ._backends import array_function, as_array, kernels
from ._dtypes import as_float
from ._quantized import INTEGERS, QuantizedArray, scale_shape

_NONLINEARITIES = ("relu", "gelu", "silu", None)


class PackedInt8:
    """Weights of a linear layer in the order in which the kernels read them, for `linear_int8`.

    Packing costs about as much as one product with a few rows; a layer that is used again is packed
    once. Inside are the values, of 8 or 4 bits, in panels of columns that the vectors of this CPU
    take at once, padded to whole panels; and the scales and zero points. `w` itself is not kept.
    The order belongs to the CPU: a pickle holds the QuantizedArray, which is packed again where it
    is loaded.

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
    dtype : str
        That of `w`: "int8", "uint8", "int4" or "uint4".
    nbytes : int
        Bytes of all parts together.

    Raises
    ------
    TypeError
        `w` is not a QuantizedArray.
    ValueError
        `w` is not 2-D, or has scales that differ along k but not in blocks.

    Examples
    --------
    >>> w = tersor.quantize(np.ones((64, 128), np.float32), dtype="int4", block_size=32)
    >>> packed = tersor.PackedInt8(w)
    >>> packed.shape, packed.dtype, packed.nbytes < 64 * 128
    ((64, 128), 'int4', True)
    """

    __slots__ = ("_backend", "_module", "_options", "_parts", "_scales", "dtype", "nbytes", "shape")

    shape: tuple[int, int]
    dtype: str
    nbytes: int
    _backend: str | None
    _module: Any
    _options: dict[str, Any]  # of the QuantizedArray
    _parts: Any
    _scales: Any  # of the whole tensor: scale and zero point, or None

    def __init__(self, w: QuantizedArray, *, backend: str | None = None) -> None:
        _pack(w, self, backend)

    def unpack(self) -> QuantizedArray:
        """The QuantizedArray that was packed."""
        data, *scales = self._module.unpack(self._parts)
        kind = INTEGERS[self.dtype]
        data = data.view(kind.storage)
        if kind.bits == 4:
            data = kernels("quantize", data).pack_nibbles(data)
        if self._scales is not None:
            return QuantizedArray(data, *self._scales, **self._options)
        shape = scale_shape(self.shape, self._options["axis"], self._options["block_size"])
        scale, zero_point = (None if x is None else x.reshape(shape) for x in scales)
        zero_point = None if zero_point is None else zero_point.astype(kind.storage)
        return QuantizedArray(data, scale, zero_point, **self._options)

    def __reduce__(self) -> Any:
        return _packed, (self.unpack(), self._backend)

    def __repr__(self) -> str:
        return f"PackedInt8(shape={self.shape}, dtype={self.dtype!r}, nbytes={self.nbytes})"


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
    packed._backend, packed._module = backend, kernels("matmul_int8", data, backend)
    block_size = min(w.block_size or w.shape[1], w.shape[1]) or 1
    bits = INTEGERS[w.dtype].bits
    packed._parts = packed._module.pack(data, by_row(w.scale), zero_point, block_size, bits)
    packed.shape, packed.dtype, packed.nbytes = (rows, w.shape[1]), w.dtype, packed._parts.nbytes
    packed._scales = None
    if w.axis is None:
        packed._scales = tuple(None if x is None else x.copy() for x in (w.scale, w.zero_point))
    names = ("shape", "dtype", "axis", "block_size", "source_dtype", "nan_count")
    packed._options = {name: getattr(w, name) for name in names}


def _packed(w: QuantizedArray, backend: str | None) -> PackedInt8:
    return PackedInt8(w, backend=backend)


@array_function
def linear_int8(
    x: ArrayLike,
    w: QuantizedArray | PackedInt8,
    bias: ArrayLike | None = None,
    *,
    activations: str = "int8",
    nonlinearity: str | None = None,
    out: NDArray[Any] | None = None,
    backend: str | None = None,
) -> NDArray[Any]:
    """f(x @ w.T + bias) with quantized weights.

    Parameters
    ----------
    x : array (..., k), float16, bfloat16, float32, float64; integers and bools as float64
    w : QuantizedArray of shape (n, k), or PackedInt8
        Weights that are used again are better packed once.
    bias : array (n,), optional
        Any of the dtypes of `x`.
    activations : "int8" or "float"
        "int8": each row of x is quantized, q = round_half_even(x / s) with s = max(abs(x)) / 127
        (as `tersor.quantize(x, axis=0)`); the products of the integers are summed exactly, and
        y = s * sum over blocks of (scale * sum) + bias. "float": only the weights are quantized;
        they become floats on the way, as `w.dequantize()`, and x stays as it is.
    nonlinearity : "relu", "gelu", "silu" or None
        f: max(y, 0); y * P(Z < y) of a standard normal Z (not the tanh approximation), in float32
        to within 3e-7 abs(y); y / (1 + exp(-y)); y itself. At -inf gelu and silu give NaN.
    out : array, optional
        Of the result's shape and dtype; the result is written here and returned.
    backend : str, optional
        Run on this backend instead of the one that owns `x`.

    Returns
    -------
    array (..., n) of the dtype of `x`
        Scales and sums are in float32, or in float64 where `x` is float64. A row of x with NaN or
        an infinity gives NaN throughout with "int8"; with "float" they spread as in x @ w.T. k = 0
        gives f(bias).

    Raises
    ------
    TypeError
        `x` or `bias` is not numeric, `w` is none of the two, `out` has another dtype.
    ValueError
        Shapes do not fit, `w` is quantized another way (see PackedInt8) or packed for another
        backend, or `activations` or `nonlinearity` is another.

    Notes
    -----
    "int8" is the dynamic quantization of torch (quantize_dynamic) and of ONNX models
    (DynamicQuantizeLinear, MatMulInteger), but by row and symmetric, and without the saturation
    that their uint8 by int8 products have on CPUs without VNNI. "float" is weight-only quantization
    (W8A32, with weights of 4 bits W4A32), ONNX Runtime's MatMulNBits.

    Examples
    --------
    >>> w = tersor.quantize(np.float32([[1, -2, 0], [3, 4, 5]]), axis=0)
    >>> tersor.linear_int8(np.float32([1, 0, 0]), w, activations="float")
    array([1.007874, 2.992126], dtype=float32)
    >>> tersor.linear_int8(np.float32([0, 1, 0]), w, nonlinearity="relu")
    array([0.       , 4.015748], dtype=float32)
    """
    check_one_of(activations, ("int8", "float"), "activations")
    check_one_of(nonlinearity, _NONLINEARITIES, "nonlinearity")
    if not isinstance(w, (QuantizedArray, PackedInt8)):
        raise TypeError(f"w must be a QuantizedArray or PackedInt8, got {type(w).__name__}")
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
    rows = np.ascontiguousarray(rows.reshape(m, k), np.float32 if dtype.itemsize == 2 else dtype)
    room = out.reshape(m, n) if dtype.itemsize > 2 and is_room(out, rows, offset) else None
    rounds = activations == "int8"
    product = module.linear_int8(rows, packed._parts, offset, rounds, nonlinearity, room)
    if out is not None and room is not None:
        return out
    result: NDArray[Any] = placed(product.astype(dtype, copy=False).reshape(shape), out)
    return result
