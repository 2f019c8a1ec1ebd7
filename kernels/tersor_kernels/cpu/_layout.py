"""How scales lie on an array.

The array is one flat piece of memory (C order), and a block of work is BLOCK entries of it,
wherever rows begin: any shape is spread evenly. Where entries that share a scale lie side by side
(per tensor, per axis but the last, blocks along the last), a run of them takes one scale; else (per
last axis, blocks along another) a row of the last axis takes a row of scales.

    row, j = place(p, layout)                     # p, end: a block of work
    while p < end:
        q, s, count = segment(p, end, row, j, layout)
        ... entries p..q-1 take the `count` scales from number s on: one for all, or one for each
        p = q
        row, j = after(row, j, layout)
"""

from math import prod
from typing import NamedTuple

from .._jit import njit


class Layout(NamedTuple):
    """Rows of `n` entries; `size` of them in a run, or `size` rows under one row of scales.

    rows 0: run j of row r takes scale r % group * ceil(n / size) + j.
    rows 1: row r takes the n scales of row r // group * ceil(group / size) + r % group // size.
    """

    rows: int
    n: int
    group: int
    size: int


def layout_of(shape, axis, block_size):
    """The Layout of an array that is not empty."""
    if axis is None:
        return Layout(0, prod(shape), 1, prod(shape))
    length, outer, inner = shape[axis], prod(shape[:axis]), prod(shape[axis + 1 :])
    if block_size is None:
        if inner == 1:
            return Layout(1, length, outer, outer)
        return Layout(0, inner, length, inner)
    if inner == 1:
        return Layout(0, length, outer, block_size)
    return Layout(1, inner, length, block_size)


def shape_of_scales(shape, axis, block_size):
    """() or (n,) or `shape` with fewer entries along the axis."""
    if axis is None:
        return ()
    if block_size is None:
        return (shape[axis],)
    return (*shape[:axis], -(-shape[axis] // block_size), *shape[axis + 1 :])


@njit(forceinline=True)
def place(p, layout):
    """Row of entry p, and its run."""
    return p // layout.n, 0 if layout.rows else p % layout.n // layout.size


@njit(forceinline=True)
def segment(p, end, row, j, layout):
    """End of what can be done in one go from entry p on; number of its first scale; how many."""
    rows, n, group, size = layout
    first = row * n
    if rows:
        q = min(end, first + n)
        s = (row // group * -(-group // size) + row % group // size) * n + p - first
        return q, s, q - p
    q = min(end, first + min(n, (j + 1) * size))
    r = row if row < group else row % group
    return q, r * -(-n // size) + j, 1


@njit(forceinline=True)
def after(row, j, layout):
    """Row and run of what follows run j of `row`."""
    j += 1
    if layout.rows or j * layout.size >= layout.n:
        return row + 1, 0
    return row, j
