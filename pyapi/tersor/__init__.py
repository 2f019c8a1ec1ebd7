"""tersor, terse tensors: compiled kernels that make arrays small and fast.

Prune, quantize, multiply in int8 or sparse, reduce and distil: NumPy-style functions that run
Numba kernels on the CPU and CUDA C++ kernels on the GPU, wherever the array lives.

Everything here is loaded on first use: `import tersor` itself costs a few milliseconds.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .csr import QuantizedCSR as QuantizedCSR
    from .csr import csr_array as csr_array
    from .csr import csr_matmul as csr_matmul
    from .csr import sddmm as sddmm
    from .csr import to_csr as to_csr
    from .distill import distillation_loss as distillation_loss
    from .distill import kl_divergence as kl_divergence
    from .distill import linear_distillation_loss as linear_distillation_loss
    from .distill import log_softmax as log_softmax
    from .distill import softmax as softmax
    from .matmul_int8 import PackedInt8 as PackedInt8
    from .matmul_int8 import linear_int8 as linear_int8
    from .matmul_int8 import matmul_int8 as matmul_int8
    from .prune import compact as compact
    from .prune import pack_mask as pack_mask
    from .prune import prune as prune
    from .prune import prune_global as prune_global
    from .prune import prune_mask as prune_mask
    from .prune import retain_schedule as retain_schedule
    from .prune import unpack_mask as unpack_mask
    from .quantize import Calibrator as Calibrator
    from .quantize import QuantizedArray as QuantizedArray
    from .quantize import dequantize as dequantize
    from .quantize import dequantize_linear as dequantize_linear
    from .quantize import dynamic_quantize_linear as dynamic_quantize_linear
    from .quantize import fake_quantize as fake_quantize
    from .quantize import pack_int4 as pack_int4
    from .quantize import quantize as quantize
    from .quantize import quantize_linear as quantize_linear
    from .quantize import unpack_int4 as unpack_int4
    from .reduce import all as all
    from .reduce import amax as amax
    from .reduce import amin as amin
    from .reduce import any as any
    from .reduce import argmax as argmax
    from .reduce import argmin as argmin
    from .reduce import average as average
    from .reduce import count_nonzero as count_nonzero
    from .reduce import cumprod as cumprod
    from .reduce import cumsum as cumsum
    from .reduce import logsumexp as logsumexp
    from .reduce import max as max
    from .reduce import mean as mean
    from .reduce import min as min
    from .reduce import nanargmax as nanargmax
    from .reduce import nanargmin as nanargmin
    from .reduce import nancumprod as nancumprod
    from .reduce import nancumsum as nancumsum
    from .reduce import nanmax as nanmax
    from .reduce import nanmean as nanmean
    from .reduce import nanmin as nanmin
    from .reduce import nanprod as nanprod
    from .reduce import nanstd as nanstd
    from .reduce import nansum as nansum
    from .reduce import nanvar as nanvar
    from .reduce import norm as norm
    from .reduce import prod as prod
    from .reduce import ptp as ptp
    from .reduce import std as std
    from .reduce import sum as sum
    from .reduce import var as var
    from .select import argpartition as argpartition
    from .select import median as median
    from .select import nanmedian as nanmedian
    from .select import nanpercentile as nanpercentile
    from .select import nanquantile as nanquantile
    from .select import partition as partition
    from .select import percentile as percentile
    from .select import quantile as quantile
    from .select import top_k as top_k
    from .threads import get_num_threads as get_num_threads
    from .threads import num_threads as num_threads
    from .threads import set_num_threads as set_num_threads

__version__ = "0.1.0"

_EXPORTS = {
    "reduce": (
        "all",
        "amax",
        "amin",
        "any",
        "argmax",
        "argmin",
        "average",
        "count_nonzero",
        "cumprod",
        "cumsum",
        "logsumexp",
        "max",
        "mean",
        "min",
        "nanargmax",
        "nanargmin",
        "nancumprod",
        "nancumsum",
        "nanmax",
        "nanmean",
        "nanmin",
        "nanprod",
        "nanstd",
        "nansum",
        "nanvar",
        "norm",
        "prod",
        "ptp",
        "std",
        "sum",
        "var",
    ),
    "select": (
        "argpartition",
        "median",
        "nanmedian",
        "nanpercentile",
        "nanquantile",
        "partition",
        "percentile",
        "quantile",
        "top_k",
    ),
    "prune": (
        "compact",
        "pack_mask",
        "prune",
        "prune_global",
        "prune_mask",
        "retain_schedule",
        "unpack_mask",
    ),
    "quantize": (
        "Calibrator",
        "QuantizedArray",
        "dequantize",
        "dequantize_linear",
        "dynamic_quantize_linear",
        "fake_quantize",
        "pack_int4",
        "quantize",
        "quantize_linear",
        "unpack_int4",
    ),
    "matmul_int8": (
        "PackedInt8",
        "linear_int8",
        "matmul_int8",
    ),
    "csr": (
        "QuantizedCSR",
        "csr_array",
        "csr_matmul",
        "sddmm",
        "to_csr",
    ),
    "distill": (
        "distillation_loss",
        "kl_divergence",
        "linear_distillation_loss",
        "log_softmax",
        "softmax",
    ),
    "threads": (
        "get_num_threads",
        "num_threads",
        "set_num_threads",
    ),
}
_STEM_OF = {name: stem for stem, names in _EXPORTS.items() for name in names}
_SUBMODULES = ("compress", "mlp", "numpy", "testing")

__all__ = ["__version__", *_STEM_OF]


def __getattr__(name: str) -> Any:
    if name in _STEM_OF:
        value = getattr(import_module(f"{__name__}.{_STEM_OF[name]}"), name)
    elif name in _SUBMODULES:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBMODULES])


class _Package(ModuleType):
    """Keeps `tersor.prune` the function: importing its module, `tersor.prune`, would replace it."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and name in _STEM_OF:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
