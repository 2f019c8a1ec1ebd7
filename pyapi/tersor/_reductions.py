"""From NumPy's arguments to the reduction kernels and back; None where NumPy has to do it."""

from math import prod
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ._backends import _is_cupy, kernels
from ._dtypes import FLOATS

Axis = int | tuple[int, ...] | None
NO_VALUE: Any = np._NoValue  # NumPy's own mark of an argument that was not given

# Entries below which NumPy is faster: its reductions run on one thread, but start in 2 us.
SMALL = 2**15


class Job:
    """An array as (outer, n, inner), C-contiguous, and the way back for results (outer, inner)."""

    def __init__(self, x: Any, axis: Axis, keepdims: bool, backend: str | None) -> None:
        axes = normalize_axis_tuple(range(x.ndim) if axis is None else axis, x.ndim)
        self.kernels = kernels("reduce", x, backend)
        self.dtype = x.dtype
        kept = [i for i in range(x.ndim) if i not in axes]
        self.shape = tuple(x.shape[i] for i in kept)
        if keepdims:
            self.shape = tuple(1 if i in axes else x.shape[i] for i in range(x.ndim))
        if not x.flags.c_contiguous:
            x = np.ascontiguousarray(x)
        if axes == tuple(range(axes[0], axes[-1] + 1)):  # neighbours: no need to move anything
            outer, inner = prod(x.shape[: axes[0]]), prod(x.shape[axes[-1] + 1 :])
        else:
            outer, inner = prod(x.shape[i] for i in kept), 1
            x = np.ascontiguousarray(x.transpose([*kept, *sorted(axes)]))
        self.n = prod(x.shape) // (outer * inner)
        self.x = x.reshape(outer, self.n, inner)

    def result(self, values: Any, dtype: Any = None) -> Any:
        """`values`, shape (outer, inner), in the shape and kind that NumPy would return."""
        with np.errstate(over="ignore"):
            values = values.astype(dtype or self.dtype, copy=False).reshape(self.shape)
        return values if values.ndim else values[()]

    def moments(self, ddof: float, skip_nan: bool) -> tuple[Any, Any, Any]:
        """Mean, variance and number of what was summed, as float64 of shape (outer, inner)."""
        sums, counts = self.kernels.total(self.x, skip_nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = sums / counts
            return mean, self.kernels.squares(self.x, mean, skip_nan) / (counts - ddof), counts


def job(
    a: Any, axis: Any, keepdims: Any, backend: str | None, *unset: Any, floats: bool = False
) -> Job | None:
    """The job that the kernels can do for these arguments; None where it is NumPy's.

    `unset` are the arguments that have to be NO_VALUE or None: what the kernels know nothing of.
    """
    if not all(value is NO_VALUE or value is None for value in unset):
        return None
    if _is_cupy(a):
        return Job(a, axis, keepdims is True, backend)
    if type(a) is not np.ndarray or not a.ndim or not a.size or not a.dtype.isnative:
        return None
    if backend is None and a.size < SMALL and a.dtype.name != "bfloat16":
        return None
    if not (a.dtype.name in FLOATS or (a.dtype.kind in "iub" and not floats)):
        return None
    if keepdims is not NO_VALUE and type(keepdims) is not bool:
        return None
    if axis is not None and not isinstance(axis, (int, tuple)):
        return None
    if isinstance(axis, tuple) and len({i % a.ndim for i in axis}) != max(1, len(axis)):
        return None  # nothing to reduce, or an axis twice
    return Job(a, axis, keepdims is True, backend)


def widest(work: Job | None) -> bool:
    """Whether the sum for a mean could leave int64 or uint64: NumPy takes it in float64."""
    return work is not None and work.dtype.kind in "iu" and work.dtype.itemsize == 8


def accurate(dtype: Any) -> bool:
    """Whether NumPy sums this dtype in itself, with errors that grow with the number of entries."""
    return bool(dtype.kind == "f" and dtype.itemsize < 8)


def given(**options: Any) -> dict[str, Any]:
    """The options that are not NO_VALUE."""
    return {name: value for name, value in options.items() if value is not NO_VALUE}
