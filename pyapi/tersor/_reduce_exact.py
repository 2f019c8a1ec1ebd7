"""Sums that are rounded once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ._arguments import as_index, check_out
from ._backends import as_array, beside, kernels
from ._reduce import Reduction, is_covered, native, result_dtype
from ._reduce_short import FLOAT64


def exact_sum(
    a: Any, axis: Any, dtype: Any, out: Any, options: dict[str, Any], backend: str | None
) -> Any:
    """The correctly rounded sum, or None where any sum is exact: of integers."""
    x = as_array(a, "a")
    if type(x) is np.memmap:
        x = x.view(np.ndarray)
    if x.dtype.kind in "biu":
        if dtype is not None and np.dtype(dtype).kind not in "biu":
            raise TypeError(f"dtype must be an integer for {x.dtype} with exact=True, got {dtype}")
        return None
    if not is_covered(x.dtype):
        rule = "a must be of float16, bfloat16, float32, float64 or integers with exact=True"
        raise TypeError(f"{rule}, got {x.dtype}")
    target = result_dtype(dtype, native(x.dtype))
    if target is None:
        rule = f"dtype must be {native(x.dtype)} or a wider float with exact=True"
        raise TypeError(f"{rule}, got {dtype!r:.60}")
    for name in ("initial", "where"):
        if name in options and options[name] is not True:
            raise ValueError(f"{name} must not be given with exact=True")
    keepdims = options.get("keepdims", False)
    if not isinstance(keepdims, (int, np.bool_)):
        raise TypeError(f"keepdims must be True or False, got {keepdims!r:.60}")
    axes = tuple(range(x.ndim))
    if axis is not None:
        listed = axis if isinstance(axis, tuple) else (axis,)
        listed = tuple(as_index(i, "axis") for i in listed)
        axes = tuple(sorted(normalize_axis_tuple(listed, x.ndim)))
    shape = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape)) if keepdims else shape
    check_out(out, kept, target)
    call = Reduction(x, axes, target, bool(keepdims), out, kernels("reduce", x, backend))
    if not x.size or not axes:
        return call.finish(x.astype(FLOAT64) + 0.0 if not axes else beside(x, np.zeros(shape)))
    with np.errstate(over="ignore"):
        result = call.kernels.exact_sum(x, axes, target).astype(target)
    if not call.on_gpu and not np.isfinite(result).all():
        _warn(call, result)
    return call.finish(result)


def _warn(call: Reduction, result: Any) -> None:
    """NumPy's warnings of a reduction, for the reasons it would have if it were exact."""
    if (np.isinf(result) & ~call.reduce("any_inf")).any():
        np.add.reduce(np.full(2, np.finfo(np.float64).max))
    if (np.isnan(result) & (call.reduce("count_numbers") == call.count)).any():
        np.add.reduce(np.array([np.inf, -np.inf]))
