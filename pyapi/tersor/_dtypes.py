"""The dtypes that kernels take."""

from typing import Any

import numpy as np

FLOATS = ("float16", "bfloat16", "float32", "float64")
_NATIVE = {np.dtype(name) for name in ("float16", "float32", "float64")}
_NAMES = {np.dtype(code): np.dtype(code).name for code in "?bhilqBHILQefd"}


def bfloat16() -> Any:
    """ml_dtypes' bfloat16; ImportError with the remedy where it is missing."""
    try:
        from ml_dtypes import bfloat16
    except ImportError:
        raise ImportError("bfloat16 needs ml_dtypes: pip install 'tersor[models]'") from None
    return bfloat16


def name_of(dtype: Any) -> str:
    """dtype.name, which takes NumPy a microsecond to find."""
    return _NAMES.get(dtype) or str(dtype.name)


def as_float(x: Any, name: str) -> Any:
    """`x` if its dtype is one of FLOATS in native byte order; integers and bools as float64."""
    if x.dtype in _NATIVE:
        return x
    if x.dtype.name in FLOATS:
        return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))
    if x.dtype.kind in "iub":
        return x.astype(np.float64)
    raise TypeError(f"{name} must be {', '.join(FLOATS)} or integers, got {x.dtype}")
