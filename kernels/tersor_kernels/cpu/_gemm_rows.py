"""Rows of floats as panels of A, rounded to int8 or as they are."""

import numpy as np
from numba import types
from numba.extending import overload

from .._jit import njit
from ._gemm_pack import height_index, put_row, sum_groups


def round_row(x, out):
    """out = round(x / s) for the s of `quantize`; returns s, NaN where x has NaN or an infinity.

    Magnitudes are compared as integers, where NaN is above infinity: LLVM vectorizes that.
    """
    raise TypeError("only for compiled code")


@overload(round_row, jit_options={"fastmath": False})
def _round_row(x, out):
    floating, integer = (
        (np.float32, np.int32) if x.dtype == types.float32 else (np.float64, np.int64)
    )
    top = integer(np.iinfo(integer).max)
    infinity, nan = floating(np.inf), floating(np.nan)
    tiny, largest = np.finfo(floating).smallest_normal, floating(127)

    def compute(x, out):
        keys = x.view(integer)
        high = integer(0)
        for j in range(keys.size):
            key = integer(keys[j] & top)
            high = key if key > high else high
        absmax = integer(high).view(floating)
        if not absmax < infinity:
            out[:] = 0
            return nan
        s = absmax / largest
        if s < tiny and s * largest < absmax:  # as reference.quantize.absmax_scale
            s = np.nextafter(s, infinity)
        elif s * largest == infinity:
            s = np.nextafter(s, floating(0))
        s = s if absmax > 0 else floating(1)
        for j in range(x.size):
            out[j] = np.int8(np.int32(np.rint(x[j] / s)))
        return s

    return compute


@njit
def _panel(i, tile, m):
    """Of panel i of m rows: its first row, how many there are, and its height."""
    first = i * tile.heights[0]
    rows = min(tile.heights[0], m - first)
    return first, rows, tile.heights[height_index(tile, rows)]


@njit
def round_rows(i, tile, x, groups, panels, sums, scale):
    """Panel i of A: rows of x rounded to int8; their scales, and sums (groups, rows)."""
    starts, places = groups
    first, rows, height = _panel(i, tile, x.shape[0])
    words = places[-1] // tile.depth
    to = panels + 4 * words * first
    is_one = starts.size == 2
    rounded, row = np.empty(x.shape[1], np.int8), np.zeros(places[-1], np.int8)
    for r in range(rows):
        if is_one:
            scale[first + r] = round_row(x[first + r], row[: x.shape[1]])
        else:
            scale[first + r] = round_row(x[first + r], rounded)
            for g in range(starts.size - 1):
                part = rounded[starts[g] : starts[g + 1]]
                place = row[places[g] : places[g] + part.size]
                for j in range(part.size):
                    place[j] = part[j]
        put_row(tile.depth, height, r, row.ctypes.data, words, to)
        sum_groups(row, places, starts, sums.reshape(-1)[first + r :], sums.shape[1])
    row[:] = 0
    for r in range(rows, height):
        put_row(tile.depth, height, r, row.ctypes.data, words, to)
        for g in range(starts.size - 1):
            sums[g, first + r] = 0


@njit
def float_rows(i, tile, x, groups, panels, sums, scale):
    """Panel i of A: rows of floats as they are, padded with zeros."""
    starts, places = groups
    first, rows, height = _panel(i, tile, x.shape[0])
    panel = panels[first * places[-1] : (first + height) * places[-1]]
    panel[:] = 0
    for r in range(rows):
        scale[first + r] = 1
        row = x[first + r]
        for g in range(starts.size - 1):
            part = row[starts[g] : starts[g + 1]]
            place = panel[places[g] * height + r :]
            for j in range(part.size):
                place[j * height] = part[j]
