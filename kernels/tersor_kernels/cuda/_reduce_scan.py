"""Running sums and products along an axis."""

from math import prod

import cupy
import numpy as np

from ._launch import TYPES, contiguous, is_aligned, launch, on_device

_FILE = "reduce_scan.cu"
_THREADS = 256
_ROW_PIECE, _COLUMN_PIECE = 1 << 12, 1 << 8  # elements of a piece, at least
_PIECES = 1024  # at most, of a row or column
_OPS = {
    "sum": "RunningSum",
    "nansum": "RunningNanSum",
    "prod": "RunningProd",
    "nanprod": "RunningNanProd",
}


@on_device
def scan(op, x, axis, dtype):
    """Running sum, prod, nansum or nanprod along `axis`.

    dtype : of the result; float64, float32 or int64 (uint64 alike)
    """
    x, out = contiguous(x), cupy.empty(x.shape, dtype)
    n, inner = x.shape[axis], prod(x.shape[axis + 1 :])
    if not x.size:
        return out
    results = x.size // n
    least = _ROW_PIECE if inner == 1 else _COLUMN_PIECE
    piece = least * -(-n // (least * _PIECES))
    pieces = -(-n // piece)
    types = f"{_OPS[op]}, {TYPES[x.dtype.name]}"
    sizes = tuple(map(np.int64, (n, pieces, piece)))
    name, blocks, start = "scan_rows", results * pieces, (x, is_aligned(x))
    if inner > 1:
        tasks = results * pieces
        name, blocks = "scan_columns", -(-tasks // _THREADS)
        start = (x, np.int64(tasks))
        sizes = (sizes[0], np.int64(inner), *sizes[1:])

    def run(writes, carries, target):
        arguments = (*start, *sizes, carries, target)
        expression = f"{name}<{types}, {TYPES[np.dtype(dtype).name]}, {writes}>"
        launch(_FILE, expression, blocks, _THREADS, *arguments)

    states = None
    if pieces > 1:
        is_sum_of_floats = x.dtype.kind in "fV" and op in ("sum", "nansum")
        states = cupy.empty(results * pieces * (2 if is_sum_of_floats else 1), np.float64)
        run("false", None, states)
        counts = map(np.int64, (results, inner, pieces))
        threads = -(-results // _THREADS)
        launch(_FILE, f"scan_carries<{types}>", threads, _THREADS, states, *counts)
    run("true", states, out)
    return out
