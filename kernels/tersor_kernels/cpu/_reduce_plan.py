"""Where the elements of a reduction lie in memory, and in which steps they are reduced.

Several axes are reduced in groups from the last on, each of RUN elements at least, in logical
order: (4096, 4096) is 4096 rows, then their 4096 results. What is added to what thus depends on
shape and axes alone, and for every permutation of the axes in memory a step walks memory in order.
"""

from math import prod

import numpy as np

from ._stored import is_half

READABLE = {np.dtype(code) for code in "? i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8".split()}
RUN = 512  # elements: shorter rows would be many results to fold again


def usable(x):
    """`x` in a dtype and at addresses that kernels read: a view, else a copy."""
    dtype = x.dtype
    if dtype not in READABLE and dtype.name == "bfloat16":  # ml_dtypes need not be installed
        READABLE.add(dtype)
    if dtype in READABLE and x.flags.aligned and not any(s % dtype.itemsize for s in x.strides):
        return x
    return x.astype(dtype.newbyteorder("="), order="C")


def widened(x):
    """The same, float16 and bfloat16 as float32, bool as uint8."""
    x = usable(x)
    if x.dtype.kind == "b":
        return (x.view(np.uint8) != 0).view(np.uint8)
    return x.astype(np.float32) if is_half(x.dtype) else x


def last_group(shape, axes):
    """The axes to reduce first, and the others."""
    for i in range(len(axes) - 1, 0, -1):
        if prod(shape[axis] for axis in axes[i:]) >= RUN:
            return axes[i:], axes[:i]
    return axes, ()


def locate(shape, strides, axes):
    """(place, order, moved): where the elements lie in memory, or in a copy of simpler order.

    strides : in elements
    place : (outer, its stride, n1, its stride, n2, its stride, inner, its stride), in elements
    order : the axes that are kept, in the order of (outer, inner)
    moved : the order of axes in which to copy the array, or None
    """
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    kept.sort(key=lambda axis: -abs(strides[axis]))
    results = _levels(shape, strides, kept)
    elements = _levels(shape, strides, axes)
    if len(results) > 2 or len(elements) > 2:
        moved = (*kept, *axes)
        shape = [shape[axis] for axis in moved]
        strides = [prod(shape[i + 1 :]) for i in range(len(shape))]
        return locate(shape, strides, range(len(kept), len(shape)))[0], kept, moved
    (outer, so), (inner, si) = [(1, 0)] * (2 - len(results)) + results
    (n1, s1), (n2, s2) = [(1, 0)] * (2 - len(elements)) + elements
    if inner * n1 * n2 < RUN and outer > inner:  # small tiles: better many columns
        outer, so, inner, si = inner, si, outer, so
        split = _split(shape, kept, inner)
        kept = kept[split:] + kept[:split]
    return (outer, so, n1, s1, n2, s2, inner, si), kept, None


def _levels(shape, strides, axes):
    """(size, stride) of the axes, outermost first; those that form one range are one."""
    levels = []
    for axis in axes:
        n, s = shape[axis], strides[axis]
        if n == 1:
            continue
        if levels and levels[-1][1] == n * s:
            levels[-1] = levels[-1][0] * n, s
        else:
            levels.append((n, s))
    return levels


def _split(shape, axes, size):
    """How many of `axes` make up `size`."""
    for i in range(len(axes)):
        if prod(shape[axis] for axis in axes[:i]) == size:
            return i
    return len(axes)
