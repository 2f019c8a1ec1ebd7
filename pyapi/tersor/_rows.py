"""Arrays as rows: what every op does that works along one axis."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from ._arguments import as_index


def normalize_axis(axis: Any, ndim: int, of: str) -> int:
    """`axis` in 0..ndim-1; AxisError (a ValueError) naming the range, or the array `of` if 0-d."""
    i = as_index(axis, "axis")
    if ndim == 0:
        raise np.exceptions.AxisError(
            f"{of} must have at least one dimension for axis={i}, got a 0-d array"
        )
    if not -ndim <= i < ndim:
        raise np.exceptions.AxisError(i, ndim, f"axis must be in {-ndim}..{ndim - 1}")
    return i % ndim


def axis_last(x: Any, axis: int) -> tuple[Any, Callable[[Any], Any]]:
    """A view of `x` with `axis` last, and the way back."""
    if axis == x.ndim - 1:
        return x, _as_it_is
    return x.swapaxes(axis, -1), lambda result: result.swapaxes(axis, -1)


def as_rows(x: Any, axis: int) -> tuple[Any, Callable[[Any], Any]]:
    """`x` as (rows, n) with `axis` last, and the way back for results of shape (rows, any).

    A view where the memory allows it (always for the last axis of a contiguous array), else a copy.
    """
    if x.ndim == 2 and axis == 1:
        return x, _as_it_is
    moved = x.swapaxes(axis, -1)
    shape = moved.shape[:-1]
    rows = moved.reshape(prod(shape), moved.shape[-1])  # not -1: the array may be empty

    def restore(result: Any) -> Any:
        return result.reshape(*shape, *result.shape[1:]).swapaxes(axis, -1)

    return rows, restore


def _as_it_is(result: Any) -> Any:
    return result
