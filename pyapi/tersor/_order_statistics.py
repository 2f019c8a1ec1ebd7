"""From NumPy's arguments to the selection kernels and back; None where NumPy has to do it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import cache, lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple
from numpy.typing import NDArray

from ._backends import kernels
from ._dtypes import FLOATS
from ._order_flat import flat_median, flat_quantile
from ._quantiles import METHODS, mix, positions
from ._rows import axis_last
from ._select_least import ALWAYS_NUMPY, least, rows_of_numpy


class TopK(NamedTuple):
    """What `top_k` returns."""

    values: NDArray[Any]
    indices: NDArray[np.int64]


@cache
def is_ranked(dtype: Any) -> bool:
    """Whether the kernels have an order for this dtype."""
    return dtype.name in FLOATS or dtype.kind in "iub"


def native(x: Any) -> Any:
    """`x` in native byte order; of bools, whose bytes can be any, those of True are 1."""
    if x.dtype.kind == "b":
        return x.view(np.uint8) != 0
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def is_small(a: Any, backend: str | None, op: str) -> bool:
    """Whether `a` is an array of so few numbers that NumPy is to take it as it is."""
    if backend is not None or type(a) is not np.ndarray or a.dtype.kind not in "biufc":
        return False
    return a.size < ALWAYS_NUMPY or a.size < least(op, a.dtype)


def _is_one_of(option: Any, names: tuple[str, ...]) -> bool:
    return isinstance(option, str) and option in names


def _taken(a: Any, backend: str | None, op: str) -> Any:
    """`a` as an array that the kernels should work on; None if it is NumPy's."""
    if type(a) is not np.ndarray:
        cupy = sys.modules.get("cupy")
        if cupy is not None and isinstance(a, cupy.ndarray):
            return a
        if not isinstance(a, (list, tuple)):
            return None  # a number, a subclass, an array of another library
        a = np.asarray(a)
    if is_small(a, backend, op):
        return None
    return native(a) if a.ndim and a.size and is_ranked(a.dtype) else None


def partition_job(
    a: Any, kth: Any, axis: Any, kind: Any, order: Any, backend: str | None, with_places: bool
) -> tuple[Any, list[int], Callable[[Any], Any]] | None:
    """Rows, the places in ascending order, and the way back."""
    x = _taken(a, backend, "argpartition" if with_places else "partition")
    if x is None or not _is_one_of(kind, ("introselect",)) or order is not None:
        return None
    if axis is None:
        x, axis = x.reshape(-1), 0
    if not (type(axis) is int or isinstance(axis, np.integer)) or not -x.ndim <= axis < x.ndim:
        return None
    n = x.shape[axis]
    if backend is None and not with_places and n in rows_of_numpy("partition", x.dtype):
        return None
    if type(kth) is int:
        places = [kth % n] if -n <= kth < n else []
    else:
        numbers = np.asarray(kth)
        if numbers.dtype.kind not in "iu" or numbers.ndim > 1 or numbers.size == 0:
            return None
        is_inside = -n <= numbers.min() and numbers.max() < n
        places = np.unique(numbers.astype(np.int64) % n).tolist() if is_inside else []
    if not places:
        return None
    rows, restore = axis_last(x, int(axis) % x.ndim)
    return rows, places, restore


def any_median(
    numpy: Any,
    a: Any,
    axis: Any,
    out: Any,
    overwrite_input: Any,
    keepdims: Any,
    skip_nan: bool,
    backend: str | None,
) -> Any:
    """The median of each slice: of what is not NaN, or NaN where there is one."""
    result = None
    if backend is None and out is None and keepdims is False:
        result = flat_median(a, axis, skip_nan)
    if result is None and not is_small(a, backend, "median"):
        result = _medians(a, axis, out, keepdims, skip_nan, backend)
    return numpy(a, axis, out, overwrite_input, keepdims) if result is None else result


def _medians(a: Any, axis: Any, out: Any, keepdims: Any, skip_nan: bool, backend: Any) -> Any:
    x = _taken(a, backend, "median")
    if x is None or x.dtype.kind == "b":
        return None
    rows, shape = _slices(x, axis, keepdims)
    size = rows.shape[-1]
    if backend is None and size in rows_of_numpy("median", x.dtype):
        return None
    run = kernels("select", x, backend)
    picked, nans = run.order_statistics(rows, _middle(size))
    if not nans.any():
        result = _mean(_wide(picked))
    elif not skip_nan:
        result = _mean(_wide(picked))
        result[nans > 0] = np.nan
    else:
        n = size - nans
        ranks = np.stack([np.maximum(n - 1, 0) // 2, np.minimum(n // 2, size - 1)], axis=1)
        picked = _wide(run.order_statistics(rows, ranks)[0])
        result, even = _mean(picked[:, :1]), n % 2 == 0
        result[even] = _mean(picked[even])
        result[_unknown(nans, n, skip_nan)] = np.nan
    return _finished(result.astype(_narrow(x, result), copy=False).reshape(shape), out)


@lru_cache(maxsize=4096)
def _middle(n: int) -> Any:
    """The ranks of the median of n entries."""
    return np.array([[(n - 1) // 2, n // 2] if n % 2 == 0 else [n // 2]])


def _mean(x: Any) -> Any:
    """np.mean of one or two columns, step by step; that is slow where rows are short."""
    if x.dtype.kind == "f":
        short, dtype = x.dtype, np.float32 if x.dtype == np.float16 else x.dtype
    else:
        short = dtype = np.dtype(np.float64)
    if x.shape[1] == 1:
        return x[:, 0].astype(short)
    with np.errstate(all="ignore"):
        total = np.add(x[:, 0], x[:, 1], dtype=dtype)
    if not np.isfinite(total).all():
        return np.mean(x, axis=1)  # with its warnings
    total /= 2
    return total.astype(short, copy=False)


def _entries(
    run: Any, rows: Any, ranks_of: Callable[[Any], Any], skip_nan: bool
) -> tuple[Any, Any, Any]:
    """The entries of each row at ranks_of(n), n, and how many entries of each row are NaN.

    n : how many entries count, in each row or (1,) in all. If NaN do not and there are none, once
    over the rows is enough.
    """
    n = np.full(1, rows.shape[-1])
    picked, nans = run.order_statistics(rows, ranks_of(n))
    if skip_nan and nans.any():
        n = rows.shape[-1] - nans
        picked, _ = run.order_statistics(rows, ranks_of(n))
    return _wide(picked), n, nans


def any_quantile(
    numpy: Any,
    a: Any,
    q: Any,
    axis: Any,
    out: Any,
    overwrite_input: Any,
    method: Any,
    keepdims: Any,
    weights: Any,
    is_percent: bool,
    skip_nan: bool,
    backend: str | None,
) -> Any:
    """The quantiles of each slice: of what is not NaN, or NaN where there is one."""
    result = None
    if weights is None:
        if backend is None and out is None and keepdims is False:
            result = flat_quantile(a, axis, q, method, is_percent, skip_nan)
        if result is None and not is_small(a, backend, "quantile"):
            result = _quantiles(a, q, axis, out, keepdims, method, is_percent, skip_nan, backend)
    if result is None:
        return numpy(a, q, axis, out, overwrite_input, method, keepdims, weights=weights)
    return result


def _quantiles(
    a: Any,
    q: Any,
    axis: Any,
    out: Any,
    keepdims: Any,
    method: Any,
    is_percent: bool,
    skip_nan: bool,
    backend: Any,
) -> Any:
    x = _taken(a, backend, "quantile")
    if x is None or x.dtype.kind == "b" or not _is_one_of(method, METHODS):
        return None
    is_weak = type(q) in (int, float)  # NumPy's: the result keeps the dtype of the array
    share = np.asarray(np.true_divide(q, 100) if is_percent else q)
    if share.dtype != np.float64 or share.ndim > 1 or share.size == 0:
        return None
    if not ((share >= 0) & (share <= 1)).all():
        return None
    rows, shape = _slices(x, axis, keepdims)
    run = kernels("select", x, backend)
    shares = share.reshape(1, -1)

    def ranks_of(n: Any) -> Any:
        below, above, weight = positions(method, n[:, None], shares)
        # Together, they share passes.
        ranks = below if weight is None else np.stack([below, above], axis=2)
        return ranks.reshape(len(below), -1)

    picked, n, nans = _entries(run, rows, ranks_of, skip_nan)
    weight = positions(method, n[:, None], shares)[2]
    if weight is None:
        result = picked
    else:
        result = mix(picked[:, ::2], picked[:, 1::2], weight, is_weak)
    dtype = _narrow(x, result) if is_weak or weight is None else result.dtype
    if nans.any():
        unknown = _unknown(nans, n, skip_nan)
        is_whole = axis is None or len(normalize_axis_tuple(axis, x.ndim)) == x.ndim
        result[unknown] = np.nan
        if unknown.all() and is_whole and (skip_nan or share.ndim == 0):
            dtype = x.dtype  # as NumPy returns a NaN of the array itself
    return _finished(result.T.astype(dtype).reshape(share.shape + shape), out)


def _slices(x: Any, axis: Any, keepdims: Any) -> tuple[Any, tuple[int, ...]]:
    """(..., n), a row for each entry of the result, and the shape of the result."""
    axes = range(x.ndim) if axis is None else normalize_axis_tuple(axis, x.ndim)
    kept = [i for i in range(x.ndim) if i not in axes]
    # In a row any order will do: that of memory.
    order = sorted(axes, key=lambda i: -abs(x.strides[i]))
    rows = x.transpose(*kept, *order)
    if len(order) != 1:
        sizes = rows.shape[: len(kept)]
        rows = rows.reshape(*sizes, x.size // max(1, prod(sizes)))
    if keepdims:
        shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    else:
        shape = rows.shape[:-1]
    return rows, shape


def _unknown(nans: Any, n: Any, skip_nan: bool) -> Any:
    """The rows whose result is NaN, with NumPy's warnings: one for each without a number."""
    if not skip_nan:
        return nans > 0
    for _ in range(np.count_nonzero(n == 0)):
        warnings.warn("All-NaN slice encountered", RuntimeWarning, stacklevel=7)
    return n == 0


def _wide(x: Any) -> Any:
    """bfloat16, with which NumPy does not compute as it does with its own floats, as float32."""
    return x.astype(np.float32) if x.dtype.name == "bfloat16" else x


def _narrow(x: Any, result: Any) -> Any:
    return x.dtype if x.dtype.name == "bfloat16" else result.dtype


def _finished(result: Any, out: Any) -> Any:
    """`result`, a scalar if 0-D; written to `out` if it fits, else None: NumPy knows the error."""
    if out is None:
        return result[()]
    if not isinstance(out, type(result)) or out.shape != result.shape or out.dtype != result.dtype:
        return None
    out[...] = result
    return out
