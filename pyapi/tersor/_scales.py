"""From the least and largest entries to scales and zero points: ours, and those of other libraries.

Each library's rule is written as its source has it (as of 2026), so that results agree bit for bit:
onnxruntime.quantization.quant_utils.compute_scale_zp; torch.ao.quantization's observers with
torch.quantize_per_tensor and _per_channel (x86 builds) or torch.fake_quantize_*;
compressed_tensors.quantization's calculate_qparams; torchao.quantization.quant_primitives.
"""

from importlib import import_module
from types import NoneType
from typing import Any, NamedTuple

import numpy as np

from ._arguments import check_flag, check_one_of, check_range
from ._backends import as_array
from ._dtypes import FLOATS, name_of
from ._quantized import INTEGERS, Integer, check_scale

COMPAT = ("onnx", "torch", "compressed-tensors", "torchao")
# How each rounds x / scale + zero_point: `_round_scaled` of the reference has the orders.
_ORDERS = {
    None: "divide",
    "onnx": "divide",
    "torch": "fma",  # per tensor; multiply_add per axis
    "compressed-tensors": "add_first",
    "torchao": "multiply",
}
_SOURCES = {
    "onnx": ("float16", "float32"),
    "torch": ("float32",),
    "compressed-tensors": ("float16", "bfloat16", "float32"),
    "torchao": ("float16", "bfloat16", "float32"),
}


class Scheme(NamedTuple):
    """A dtype of integers, the range in use, and the rules of one library."""

    name: str
    kind: Integer
    low: int
    high: int
    symmetric: bool
    compat: str | None
    order: str

    def check_source(self, dtype: Any) -> None:
        """TypeError where the library has no rule for arrays of `dtype`."""
        if self.compat is not None and dtype.name not in _SOURCES[self.compat]:
            allowed = ", ".join(_SOURCES[self.compat])
            raise TypeError(f"x must be {allowed} with compat={self.compat!r}, got {dtype}")

    def working_dtype(self, dtype: Any) -> Any:
        """The dtype of the scales of an array of `dtype`, in which all is computed."""
        if dtype == np.float64 or self.compat in ("compressed-tensors", "torchao"):
            return dtype
        return np.dtype(np.float32)

    @property
    def middle(self) -> int:
        """The zero point of symmetric ranges."""
        if self.kind.low < 0:
            return 0
        if self.compat == "torch" and self.kind.bits == 4:  # what it takes for a custom range
            return self.kind.high // 2
        return (self.kind.high + 1) // 2

    def scales(self, low: Any, high: Any, source: Any, module: Any) -> tuple[Any, Any]:
        """Scale and zero point (None if it is 0 by rule) of entries in low..high of dtype `source`.

        The scale is of the working dtype; libraries find it in the dtype of their data.
        """
        working = self.working_dtype(source)
        low, high = (end.astype(source if self.compat else working) for end in (low, high))
        with np.errstate(all="ignore"):  # a scale of 0 is divided by before it is replaced
            low, high = np.minimum(low, low.dtype.type(0)), np.maximum(high, low.dtype.type(0))
            rule = {None: _ours, "onnx": _onnx}.get(self.compat, _torch_like)
            scale, zero_point = rule(self, low, high, module)
        scale = np.asarray(scale, working)
        if self.symmetric and self.kind.low < 0:
            return scale, None
        zero_point = np.broadcast_to(np.asarray(zero_point), scale.shape)
        return scale, zero_point.astype(self.kind.storage)

    def given(self, scale: Any, zero_point: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        """Scale and zero point that a caller gave, as arrays of `shape`, the scale of `dtype`."""
        if shape == () and type(scale) in (float, np.float32) and 0 < scale < 1e38:
            scale = np.asarray(dtype.type(scale))
        else:
            scale = as_array(scale, "scale")
            if scale.dtype.kind not in "iu" and name_of(scale.dtype) not in FLOATS:
                raise TypeError(f"scale must be {', '.join(FLOATS)} or integers, got {scale.dtype}")
            scale = _broadcast(scale, "scale", shape).astype(dtype)
        check_scale(scale)
        if zero_point is None:
            if self.middle == 0 or not self.symmetric:
                return scale, None
            return scale, np.full(shape, self.middle, self.kind.storage)
        if self.symmetric:
            raise ValueError("zero_point needs symmetric=False")
        zero_point = as_array(zero_point, "zero_point")
        if zero_point.dtype.kind not in "iu":
            raise TypeError(f"zero_point must be integers, got {zero_point.dtype}")
        check_range(zero_point, self.low, self.high, "zero_point", self.name)
        return scale, _broadcast(zero_point, "zero_point", shape).astype(self.kind.storage)


_SCHEMES: dict[tuple[Any, ...], Scheme] = {}  # of legal arguments


def scheme_of(dtype: Any, symmetric: bool, compat: str | None) -> Scheme:
    """The Scheme of what a caller gave; TypeError or ValueError naming the argument."""
    if type(dtype) is str and type(symmetric) is bool and type(compat) in (str, NoneType):
        key = dtype, symmetric, compat
        if key not in _SCHEMES:
            _SCHEMES[key] = _scheme_of(*key)
        return _SCHEMES[key]
    return _scheme_of(dtype, symmetric, compat)


def _scheme_of(dtype: Any, symmetric: bool, compat: str | None) -> Scheme:
    try:
        name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    except (TypeError, ValueError):
        name = ""
    if name not in INTEGERS:
        raise TypeError(f"dtype must be one of {', '.join(INTEGERS)}, got {dtype!r:.60}")
    check_flag(symmetric, "symmetric")
    check_one_of(compat, (None, *COMPAT), "compat")
    if compat == "compressed-tensors" and name.startswith("u"):
        raise ValueError(f"dtype must be int8 or int4 with compat={compat!r}, got {name}")
    kind = INTEGERS[name]
    low = kind.low + 1 if symmetric and compat is None else kind.low
    return Scheme(name, kind, low, kind.high, bool(symmetric), compat, _ORDERS[compat])


def _broadcast(x: Any, name: str, shape: tuple[int, ...]) -> Any:
    """`x` of `shape`, which one number is repeated to have."""
    if x.shape == shape:
        return x
    if x.shape not in ((), shape):
        one = f"() or {shape}" if shape else "()"
        raise ValueError(f"{name} must have shape {one}, got {x.shape}")
    return np.broadcast_to(x, shape)


def _ours(scheme: Scheme, low: Any, high: Any, module: Any) -> tuple[Any, Any]:
    steps = scheme.high - scheme.low
    if scheme.symmetric:
        return module.absmax_scale(np.maximum(-low, high), steps // 2), scheme.middle
    scale = module.absmax_scale(high - low, steps)
    scale = np.where(np.isinf(scale), high / steps - low / steps, scale)
    return scale, np.clip(np.rint(scheme.low - low / scale), scheme.low, scheme.high)


def _onnx(scheme: Scheme, low: Any, high: Any, module: Any) -> tuple[Any, Any]:
    absmax = np.maximum(-low, high)
    ends = (-absmax, absmax) if scheme.symmetric else (low, high)
    first = scheme.low + 1 if scheme.symmetric and scheme.name == "int8" else scheme.low
    wide = (ends[1].astype(np.float64) - ends[0].astype(np.float64)) / (scheme.high - first)
    scale = wide.astype(low.dtype)
    least = np.finfo(low.dtype)
    none = wide < least.tiny if low.dtype == np.float32 else scale < least.smallest_subnormal
    middle = scheme.middle if scheme.symmetric else np.rint(first - low / wide)
    zero_point = np.where(none, 0, middle)
    return np.where(none, low.dtype.type(1), scale), zero_point


def _torch_like(scheme: Scheme, low: Any, high: Any, module: Any) -> tuple[Any, Any]:
    dtype, steps, middle = low.dtype, scheme.high - scheme.low, scheme.middle
    if scheme.symmetric:
        scale = np.maximum(-low, high) / dtype.type(steps / 2)
    else:
        scale = (high - low) / dtype.type(steps)
    if scheme.compat == "compressed-tensors":
        # The zero point is found before a scale of 0 is replaced: 0 / 0, clipped and cast.
        zero_point = np.rint(np.clip(dtype.type(scheme.low) - low / scale, scheme.low, scheme.high))
        zero_point = np.where(np.isnan(zero_point), 0, zero_point)
        scale = np.where(scale == 0, _finfo(dtype).eps, scale).astype(dtype)
        return scale, middle if scheme.symmetric else zero_point
    if scheme.compat == "torch":
        scale = np.maximum(scale, np.finfo(np.float32).eps)
    else:
        scale = np.maximum(scale, dtype.type(_finfo(dtype).smallest_normal))
    zero_point = np.clip(
        scheme.low - np.rint(low / scale).astype(np.float32), scheme.low, scheme.high
    )
    return scale, middle if scheme.symmetric else zero_point


def _finfo(dtype: Any) -> Any:
    module: Any = import_module("ml_dtypes") if dtype.name == "bfloat16" else np
    return module.finfo(dtype)
