"""Reductions: a step of the plan at a time, each by the engine that walks memory in order."""

from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from ._parallel import get_num_threads
from ._reduce_exact import plan_exact_sum
from ._reduce_fold import FEW, LEAF, SMALL, Fold, fold_rows, plan_fold, row_folder
from ._reduce_moments import merge_moments
from ._reduce_ops import OPS, is_any_order
from ._reduce_plan import READABLE, RUN, last_group, locate, usable, widened
from ._reduce_scan import scan_axis
from ._stored import stored_as

# The operation that goes on with the results of a group of axes.
_NEXT = {
    "total": "sum",
    "nansum": "sum",
    "sum_abs": "sum",
    "sum_squares": "sum",
    "nanprod": "prod",
    "any_inf": "any",
    "count_nonzero": "sum",
    "count_numbers": "sum",
}
_SETTLED = ("any", "all", "any_inf")
_OF_BOOL = {"max": "any", "min": "all"}  # which one element settles


class _Step(NamedTuple):
    """What the plan says of one operation over arrays of one dtype, shape and strides."""

    fold: Fold
    moved: tuple[int, ...] | None  # the order of axes in which to copy the array first
    shape: tuple[int, ...]  # of the planes: (parts, leaves, *the axes that are kept)
    order: tuple[int, ...] | None  # of those axes, where memory has them in another
    rest: tuple[int, ...]  # axes of the result that are still to be reduced

    def __call__(self, x):
        """(parts, leaves, *the axes that are kept, in order) of `x`."""
        if self.moved is not None:
            x = np.ascontiguousarray(x.transpose(self.moved))
        planes = self.fold(x).reshape(self.shape)
        return planes if self.order is None else planes.transpose(self.order)


def _step(op, x, axes, final=None, divisor=1):
    return _plan(op, x.dtype, x.shape, x.strides, axes, final, divisor, get_num_threads())


@lru_cache(maxsize=4096)  # a plan costs 5 us, looking it up 0.5
def _plan(op, dtype, shape, strides, axes, final, divisor, threads):
    strides = [stride // dtype.itemsize for stride in strides]
    if is_any_order(OPS[op], dtype):
        group, rest = tuple(sorted(axes, key=lambda axis: -abs(strides[axis]))), ()
    else:
        group, rest = last_group(shape, axes)
    place, order, moved = locate(shape, strides, group)
    _, _, n1, _, n2, s2, _, _ = place
    if not rest and n1 > 1 and s2 == 1 and n2 >= 2 * RUN:  # long rows that lie apart, in no order
        group, rest = group[-1:], group[:-1]
        place, order, moved = locate(shape, strides, group)
    final = None if rest else final
    fold, kept = plan_fold(OPS[op], dtype, place, threads, final, divisor), sorted(order)
    shape = (*fold.shape[:2], *(shape[axis] for axis in order))
    transposed = None if order == kept else (0, 1, *(2 + order.index(axis) for axis in kept))
    return _Step(fold, moved, shape, transposed, tuple(kept.index(axis) for axis in rest))


@lru_cache(maxsize=4096)
def _rows(op, dtype, shape, axes):
    """(folder, n, shape of the results, axes still to reduce) if contiguous rows of n are to."""
    group, rest = axes, ()
    if not is_any_order(OPS[op], dtype):
        group, rest = last_group(shape, axes)
    kept = shape[: -len(group)]
    n = prod(shape[len(kept) :])
    if group[0] != len(kept) or (n <= FEW and prod(kept) > 1):
        return None
    return row_folder(OPS[op], dtype), n, kept, rest


def reduce(op, x, axes, final=None, divisor=1):
    """`op`, a name of OPS, over `axes`: floats in float64, or their own dtype if it is exact.

    final : dtype to which the caller will round what is in float64; it may be done here
    divisor : integer by which what is in float64 is divided
    """
    dtype = x.dtype
    if dtype.kind == "b":
        op = _OF_BOOL.get(op, op)
    following = _NEXT.get(op, op)
    if op in _SETTLED and x.size > LEAF and len(axes) == x.ndim and x.flags.c_contiguous:
        first = reduce(op, x.reshape(-1)[:LEAF], (0,))
        if first == (op != "all"):  # what NumPy would stop at
            return first
    rows = None
    if x.nbytes <= SMALL and dtype in READABLE and x.flags.c_contiguous and x.flags.aligned:
        rows = _rows(op, dtype, x.shape, axes)
    if rows is not None:
        folder, n, shape, rest = rows
        result = fold_rows(folder, x, shape, n)
    else:
        x = usable(x)
        step = _step(op, x, axes, final, divisor)
        result, rest = step(x)[0, 0], step.rest
    if rest:
        return reduce(following, result, rest, final, divisor)
    if divisor != 1 and result.dtype == np.float64:
        return result / divisor
    if following in ("any", "all"):
        return result.view(np.bool_)
    if dtype.kind == "u" and op in ("sum", "prod"):
        return result.view(np.uint64)
    return result


@lru_cache(maxsize=4096)
def _exact_step(dtype, shape, strides, axes, target):
    strides = [stride // dtype.itemsize for stride in strides]
    group = tuple(sorted(axes, key=lambda axis: -abs(strides[axis])))
    place, order, moved = locate(shape, strides, group)
    return plan_exact_sum(dtype, place, target), order, moved


def exact_sum(x, axes, dtype):
    """The correctly rounded sum over `axes`, as float64 of the precision of `dtype`.

    Beyond the largest number of a smaller dtype they are finite, one bit more and they are inf.
    """
    x = widened(x)
    plan, order, moved = _exact_step(x.dtype, x.shape, x.strides, axes, dtype)
    shape = [x.shape[axis] for axis in order]
    if moved is not None:
        x = np.ascontiguousarray(x.transpose(moved))
    return plan(x).reshape(shape).transpose([order.index(axis) for axis in sorted(order)])


def moments(x, axes, skip):
    """(count, sum of squared deviations from the mean) over `axes`; without NaN if `skip`."""
    x = usable(x)
    step = _step("nanmoments" if skip else "moments", x, axes)
    planes = step(x)
    leaves, kept = planes.shape[1], planes.shape[2:]
    if step.rest:  # what is still to be reduced comes first, beside the leaves
        planes = np.moveaxis(planes, [2 + axis for axis in step.rest], range(2, 2 + len(step.rest)))
        kept = planes.shape[2 + len(step.rest) :]
    n = x.size // prod(planes.shape[2:])
    merged = merge_moments(planes.reshape(len(planes), -1, prod(kept)), leaves, n, skip)
    count, squares = merged
    return count.reshape(kept if len(count) == prod(kept) else ()), squares.reshape(kept)


def logsumexp(x, axes):
    """log(sum(exp(x))) over `axes`, in float64.

    m + log(c) + log1p(s / c), where c elements equal the maximum m and s sums exp(x - m) over the
    others: no digit of s is lost beside c.
    """
    x = usable(x)
    step = _step("logsumexp", x, axes)
    equal, others, largest = step(x)
    steps = (0, *[1 + axis for axis in step.rest])
    m = reduce("max", largest, steps)
    with np.errstate(all="ignore"):
        top = np.expand_dims(m, steps)
        at_top, scale = largest == top, np.exp(largest - top)
        equal, others = (
            np.where(at_top, equal, 0),
            np.where(at_top, others, (equal + others) * scale),
        )
        c = reduce("sum", equal, steps)
        return m + np.log(c) + np.log1p(reduce("sum", others, steps) / c)


def argreduce(op, x, axis):
    """Index along `axis` of the first max, min, nanmax or nanmin; NaN is the extremum of max.

    axis : or None for the index in the flattened array
    """
    if axis is None:
        if x.ndim > 1 and not x.flags.c_contiguous:
            return _argreduce_apart(op, x)
        x, axis = x.reshape(-1), 0
    x = usable(x)
    extrema, places = _step("arg" + op, x, (axis,))(x)
    if len(places) == 1:
        return places[0]
    # The engine has put the bits of the extrema into int64.
    _, _, dtype = stored_as(x.dtype)
    values = extrema.astype(f"u{dtype.itemsize}" if dtype.kind == "f" else extrema.dtype)
    values = values.view(dtype) if dtype.kind == "f" else values.astype(dtype)
    leaf = np.expand_dims((np.argmax if op.endswith("max") else np.argmin)(values, 0), 0)
    return (LEAF * leaf + np.take_along_axis(places, leaf, 0))[0]


def _argreduce_apart(op, x):
    """Index in the flattened array: the first of each run of memory, then of those."""
    runs = [(abs(stride), axis) for axis, stride in enumerate(x.strides) if stride]
    axis = min(runs)[1] if runs else 0
    if x.shape[axis] < FEW:
        return argreduce(op, x.reshape(-1), 0)
    places = np.expand_dims(argreduce(op, x, axis), axis)
    values = np.take_along_axis(x, places, axis).reshape(-1)
    if x.dtype.kind == "b":
        values = values.view(np.uint8) != 0
    if op.startswith("nan"):
        values = np.where(values == values, values, -np.inf if op == "nanmax" else np.inf)
    found = values[argreduce(op, values, 0)]
    equal = values == found if found == found else values != values
    apart = [n for i, n in enumerate(x.shape) if i != axis]
    others = list(np.unravel_index(np.flatnonzero(equal), apart))
    others.insert(axis, places.reshape(-1)[equal])
    return np.asarray(np.ravel_multi_index(others, x.shape).min())


def scan(op, x, axis, dtype):
    """Running sum, prod, nansum or nanprod along `axis`, accumulated in float64 or int64.

    dtype : of the result; float64, float32 or int64 (uint64 alike)
    """
    return scan_axis(OPS[op], widened(x), axis, dtype)
