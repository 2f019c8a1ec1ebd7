"""Softmax and distillation losses: a block is a few rows, and a row stays in cache."""

import numpy as np

from .._jit import njit
from ._common import rows_per_block, widened
from ._math import exp_difference, row_max
from ._parallel import parallel, workers

# Sums may be reordered into vector lanes; NaN and inf keep their meaning.
_REORDER = {"reassoc", "contract", "nsz"}
# Entries summed in the row's own dtype before a float64 sum takes over: relative error 1e-6 at
# 32,000 entries, where float32 throughout has 1e-5.
_CHUNK = 1024


def softmax(x):
    """Softmax of each row of (rows, n)."""
    return _run(_softmax, x)


def log_softmax(x):
    """Log-softmax of each row of (rows, n)."""
    return _run(_log_softmax, x)


def _run(kernel, x):
    wide = widened(x)
    out = np.empty(x.shape, wide.dtype)
    kernel(workers(), np.ascontiguousarray(wide), out)
    return out.astype(x.dtype, copy=False)


@njit(fastmath=_REORDER)
def _exp_chunk(x, m, out):
    """out = exp(x - m); returns its sum."""
    total = x.dtype.type(0)
    for i in range(x.size):
        e = exp_difference(x[i], m)
        out[i] = e
        total += e
    return total


@njit(fastmath=_REORDER)
def _sum_exp_chunk(x, m):
    total = x.dtype.type(0)
    for i in range(x.size):
        total += exp_difference(x[i], m)
    return total


@njit
def _softmax_block(b, x, out):
    step = rows_per_block(x.shape[1])
    for r in range(b * step, min(x.shape[0], (b + 1) * step)):
        row, result = x[r], out[r]
        m = row_max(row)
        total = 0.0
        for c in range(0, row.size, _CHUNK):
            total += np.float64(_exp_chunk(row[c : c + _CHUNK], m, result[c : c + _CHUNK]))
        inverse = x.dtype.type(1 / total)
        for i in range(result.size):
            result[i] *= inverse


@njit
def _log_softmax_block(b, x, out):
    step = rows_per_block(x.shape[1])
    for r in range(b * step, min(x.shape[0], (b + 1) * step)):
        row, result = x[r], out[r]
        m = row_max(row)
        m = m if np.isfinite(m) else x.dtype.type(0)  # as SciPy: finite - inf is -inf
        total = 0.0
        for c in range(0, row.size, _CHUNK):
            total += np.float64(_sum_exp_chunk(row[c : c + _CHUNK], m))
        log_total = x.dtype.type(np.log(total))
        for i in range(result.size):
            result[i] = (row[i] - m) - log_total


@njit
def _softmax(pool, x, out):
    blocks = -(-x.shape[0] // rows_per_block(x.shape[1]))
    parallel(pool, _softmax_block, blocks, (x, out), x.size * (x.itemsize - 3))


@njit
def _log_softmax(pool, x, out):
    blocks = -(-x.shape[0] // rows_per_block(x.shape[1]))
    parallel(pool, _log_softmax_block, blocks, (x, out), x.size * (x.itemsize - 3))
