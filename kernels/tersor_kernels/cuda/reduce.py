"""Reductions in one or two stages; `reference` defines the answers."""

from math import prod

import cupy
import numpy as np

from ._launch import TYPES, contiguous, is_aligned, launch, on_device
from ._reduce_exact import exact_sum as exact_sum
from ._reduce_scan import scan as scan

_FILE = "reduce.cu"
_THREADS = 256
_SHORT = 2048  # elements: a row that a warp reduces
_ROW_PIECE, _COLUMN_PIECE = 1 << 14, 1 << 10  # elements of a result that a block takes at least
_PIECES = 4096  # at most, of a result

# op: (struct for floats, for integers; dtype of results where it is not that of sums)
_OPS = {
    "sum": ("Sum", "Sum", None),
    "total": ("Total", "Total", "float64"),
    "nansum": ("NanSum", "Sum", None),
    "sum_abs": ("SumAbs", "SumAbs", "float64"),
    "sum_squares": ("SumSquares", "SumSquares", "float64"),
    "prod": ("Prod", "Prod", None),
    "nanprod": ("NanProd", "Prod", None),
    "max": ("Max", "Max", "own"),
    "min": ("Min", "Min", "own"),
    "nanmax": ("NanMax", "Max", "own"),
    "nanmin": ("NanMin", "Min", "own"),
    "any": ("Any", "Any", "bool"),
    "all": ("All", "All", "bool"),
    "any_inf": ("AnyInf", "AnyInf", "bool"),
    "count_nonzero": ("CountNonzero", "CountNonzero", "int64"),
    "count_numbers": ("CountNumbers", "CountNumbers", "int64"),
}
_STATES = {"Moments": 24, "NanMoments": 24, "LogSumExp": 24}  # bytes, where it is not that of below
_STATES |= dict.fromkeys(("ArgMax", "ArgMin", "NanArgMax", "NanArgMin"), 16)
_FLOAT_RESULTS = ("float16", "bfloat16", "float32", "float64")


def _is_float(dtype):
    return dtype.kind in "fV"


def _grouped(x, axes):
    """`x`, contiguous, as (outer, n, inner) with `axes` in n; moved to the end where apart."""
    axes = sorted(axes)
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    # Axes of length 1 may lie anywhere.
    apart = [a for a in axes if x.shape[a] > 1]
    between = kept and apart and any(apart[0] < k < apart[-1] and x.shape[k] > 1 for k in kept)
    if between:
        bits = x.view(np.uint16) if x.dtype.name == "bfloat16" else x
        x = cupy.ascontiguousarray(bits.transpose(*kept, *axes)).view(x.dtype)
        n = prod(x.shape[len(kept) :])
        return x, (x.size // n, n, 1)
    x = contiguous(x)
    n = prod(x.shape[axis] for axis in axes)
    inner = prod(x.shape[k] for k in kept if apart and k > apart[-1])
    return x, (x.size // (n * inner), n, inner)


def _run(op, x, axes, out, divisor=1, results=None):
    """Fill `out` with what a struct of _reduce_ops.cuh makes of `x`; `results`: their C++ type."""
    x, (outer, n, inner) = _grouped(x, axes)
    own = TYPES[x.dtype.name]
    results = results or TYPES[out.dtype.name]
    source = x
    while True:
        if inner == 1:
            piece = _ROW_PIECE * -(-n // (_ROW_PIECE * _PIECES))
        else:
            piece = _COLUMN_PIECE * -(-n // (_COLUMN_PIECE * _PIECES))
        pieces = -(-n // piece)
        target, kind = out, results
        if pieces > 1:
            target = cupy.empty(outer * pieces * inner * _state_bytes(op, x.dtype), np.uint8)
            kind = f"{op}<{own}>::State"
        last = "true" if pieces == 1 else "false"
        stage = "" if source is x else "_of_states"
        sizes = map(np.int64, (pieces, piece))
        if inner == 1:
            team = 32 if n <= _SHORT else _THREADS
            name = f"rows{stage}<{op}, {own}, {kind}, {last}, {team}>"
            blocks = -(-outer * pieces // (_THREADS // team))
            start = (source, is_aligned(source)) if source is x else (source,)
            arguments = (*start, np.int64(outer), np.int64(n), *sizes)
        else:
            width = min(inner, 32)
            tiles = -(-inner // width)
            name = f"columns{stage}<{op}, {own}, {kind}, {last}>"
            blocks = outer * pieces * tiles
            where = np.int64(n), np.int64(inner), np.int32(width), np.int64(tiles)
            arguments = (source, *where, *sizes)
        launch(_FILE, name, blocks, _THREADS, *arguments, np.float64(divisor), target)
        if pieces == 1:
            return out
        source, n = target, pieces


def _state_bytes(op, dtype):
    """sizeof(op<X>::State)."""
    if op in _STATES:
        return _STATES[op]
    return dtype.itemsize if op in ("Max", "Min", "NanMax", "NanMin") else 8


def _kept(x, axes):
    return tuple(n for axis, n in enumerate(x.shape) if axis not in axes)


@on_device
def reduce(op, x, axes, final=None, divisor=1):
    """`op`, a name of _OPS, over `axes`: floats in float64, or their own dtype if it is exact.

    final : dtype to which the caller will round what is in float64; it is done here
    divisor : integer by which what is in float64 is divided
    """
    is_float = _is_float(x.dtype)
    of_floats, of_integers, result = _OPS[op]
    if result == "own":
        dtype = x.dtype
    elif result is not None:
        dtype = np.dtype(result)
    else:
        dtype = np.dtype("float64" if is_float else "uint64" if x.dtype.kind == "u" else "int64")
    if dtype == np.float64 and result != "own" and final is not None:
        dtype = final if np.dtype(final).name in _FLOAT_RESULTS else dtype
    if x.dtype.kind == "b" and op in ("max", "min"):
        of_integers = "Any" if op == "max" else "All"
    out = cupy.empty(_kept(x, axes), dtype)
    return _run(of_floats if is_float else of_integers, x, axes, out, divisor)


@on_device
def moments(x, axes, skip):
    """(count, sum of squared deviations from the mean) over `axes`; without NaN if `skip`."""
    pairs = cupy.empty((*_kept(x, axes), 2), np.float64)
    _run("NanMoments" if skip else "Moments", x, axes, pairs, results="double2")
    return pairs[..., 0], pairs[..., 1]


@on_device
def logsumexp(x, axes):
    """log(sum(exp(x))) over `axes`, in float64."""
    if not _is_float(x.dtype):
        x = x.astype(np.float64)
    return _run("LogSumExp", x, axes, cupy.empty(_kept(x, axes), np.float64))


@on_device
def argreduce(op, x, axis):
    """Index along `axis` of the first max, min, nanmax or nanmin; NaN is the extremum of max."""
    names = {"max": "ArgMax", "min": "ArgMin", "nanmax": "NanArgMax", "nanmin": "NanArgMin"}
    if axis is None:
        x, axis = x.reshape(-1), 0
    if x.dtype.kind == "b":
        x = x.view(np.uint8)
    return _run(names[op], x, (axis,), cupy.empty(_kept(x, (axis,)), np.int64))
