"""Reductions: a step of the plan at a time, each by the engine that walks memory in order."""

from math import prod

import numpy as np

from ._reduce_arg import arg_extremum
from ._reduce_fold import LEAF, fold
from ._reduce_ops import OPS
from ._reduce_plan import last_group, locate, usable
from ._reduce_scan import scan_axis

# The operation that goes on with the results of leaves and of groups of axes, and its ufunc.
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
_MERGE = {
    "sum": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "nanmax": np.maximum,
    "nanmin": np.minimum,
    "any": np.bitwise_or,
    "all": np.bitwise_and,
}
_ANY_ORDER = ("any", "all", "any_inf", "count_nonzero", "count_numbers")


def reduce(op, x, axes):
    """`op`, a name of OPS, over `axes`: floats in float64, or their own dtype if it is exact."""
    dtype = x.dtype
    x, following = usable(x), _NEXT.get(op, op)
    if op in _ANY_ORDER or (op != "total" and x.dtype.kind in "iu"):
        group, rest = tuple(sorted(axes, key=lambda axis: -abs(x.strides[axis]))), ()
    else:
        group, rest = last_group(x.shape, axes)
    leaves, kept = _fold(op, x, group)
    with np.errstate(all="ignore"):
        whole = leaves[0, 0] if leaves.shape[1] == 1 else _MERGE[following].reduce(leaves[0])
    if rest:
        return reduce(following, whole, _positions(rest, kept))
    if following in ("any", "all") or (dtype.kind == "b" and following in ("max", "min")):
        return whole.view(np.bool_)
    if dtype.kind == "u" and op in ("sum", "prod"):
        return whole.view(np.uint64)
    return whole


def moments(x, axes, skip):
    """(count, sum of squared deviations from the mean) over `axes`; without NaN if `skip`."""
    x = usable(x)
    group, rest = last_group(x.shape, axes)
    planes, kept = _fold("nanmoments" if skip else "moments", x, group)
    total, squares, centre = planes[0], planes[1], planes[-1]
    with np.errstate(all="ignore"):
        if skip:
            count = planes[2]
        else:
            n = prod(x.shape[axis] for axis in group)
            count = np.minimum(LEAF, n - LEAF * np.arange(len(total))).astype(np.float64)
            count = np.broadcast_to(count.reshape(-1, *[1] * (total.ndim - 1)), total.shape)
        mean = centre + total / count
        squares = np.maximum(squares - total * total / count, 0)
        if skip:
            squares = np.where(count > 0, squares, 0)
        if not rest and len(total) == 1:
            return count[0], squares[0]
        steps = (0, *[1 + i for i in _positions(rest, kept)])
        n = reduce("total", count, steps)
        # Means of the leaves about one of them: equal ones then give exactly 0.
        shift = mean - np.expand_dims(reduce("nanmax", mean, steps), steps)
        if skip:
            shift = np.where(count > 0, shift, 0)
        apart = shift - np.expand_dims(reduce("sum", count * shift, steps) / n, steps)
        return n, reduce("sum", squares + count * apart * apart, steps)


def logsumexp(x, axes):
    """log(sum(exp(x))) over `axes`, in float64.

    m + log(c) + log1p(s / c), where c elements equal the maximum m and s sums exp(x - m) over the
    others: no digit of s is lost beside c.
    """
    x = usable(x)
    group, rest = last_group(x.shape, axes)
    (equal, others, largest), kept = _fold("logsumexp", x, group)
    steps = (0, *[1 + i for i in _positions(rest, kept)])
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
    """Index along `axis` of the first max, min, nanmax or nanmin; NaN is the extremum of max."""
    return arg_extremum(OPS[op], usable(x), axis)


def scan(op, x, axis, dtype):
    """Running sum, prod, nansum or nanprod along `axis`, accumulated in float64 or int64.

    dtype : of the result; float64, float32 or int64 (uint64 alike)
    """
    return scan_axis(OPS[op], usable(x), axis, dtype)


def _fold(op, x, group):
    """(planes, leaves, *the axes that are kept, in order), and which those are."""
    place, order, memory = locate(x, group)
    planes = fold(OPS[op], memory, place)
    planes = planes.reshape(*planes.shape[:2], *(x.shape[axis] for axis in order))
    kept = sorted(order)
    return planes.transpose(0, 1, *(2 + order.index(axis) for axis in kept)), kept


def _positions(axes, kept):
    return tuple(kept.index(axis) for axis in axes)
