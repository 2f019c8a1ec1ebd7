"""Sums that are rounded once."""

from math import prod

import cupy
import numpy as np

from ._launch import TYPES, launch, on_device

_FILE = "reduce_exact.cu"
_THREADS = 256
_PIECE = 1 << 14  # elements of a block, at least
_PIECES = 4096  # at most, of a result
_DIGITS = 69  # words of a sum that is not rounded yet
# (precision, exponent of the smallest number)
_FORMATS = {
    "float16": (11, -24),
    "bfloat16": (8, -133),
    "float32": (24, -149),
    "float64": (53, -1074),
}


@on_device
def exact_sum(x, axes, dtype):
    """The correctly rounded sum over `axes`, as float64 of the precision of `dtype`."""
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    bits = x.view(np.uint16) if x.dtype.name == "bfloat16" else x
    rows = cupy.ascontiguousarray(bits.transpose(*kept, *axes)).view(x.dtype)
    out = cupy.empty([x.shape[axis] for axis in kept], np.float64)
    n = prod(x.shape[axis] for axis in axes)
    piece = _PIECE * -(-n // (_PIECE * _PIECES))
    pieces = -(-n // piece)
    limits = tuple(map(np.int32, _FORMATS[np.dtype(dtype).name]))
    target = out if pieces == 1 else cupy.empty((out.size, pieces, _DIGITS), np.int64)
    name = f"exact_rows<{TYPES[x.dtype.name]}, {'true' if pieces == 1 else 'false'}>"
    sizes = map(np.int64, (n, pieces, piece))
    launch(_FILE, name, out.size * pieces, _THREADS, rows, *sizes, *limits, target)
    if pieces > 1:
        arguments = (target, np.int64(pieces), *limits, out)
        launch(_FILE, "exact_pieces", out.size, _THREADS, *arguments)
    return out
