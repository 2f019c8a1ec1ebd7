"""Softmax and distillation losses: a block is a few rows, and a row stays in cache."""

import numpy as np

from .._jit import njit
from ._common import rows_per_block
from ._distill_rows import KIND_CODES, REORDER, distill, row_sum
from ._math import exp_difference, row_max
from ._parallel import parallel, workers

# Entries of rows that have to be converted at a time: float16, bfloat16, mixed types, strides.
_PIECE = 2**20
# Logits of student or teacher that linear_distillation_loss holds by default, and entries of the
# weight's gradient that it updates at a time.
_LOGITS, _UPDATE = 2**23, 2**21


def softmax(x):
    """Softmax of each row of (rows, n)."""
    return _run(_softmax, x)


def log_softmax(x):
    """Log-softmax of each row of (rows, n)."""
    return _run(_log_softmax, x)


def distillation_loss(
    student, teacher, labels, soft, hard, temperature, kind, beta, return_grad=True
):
    """soft * divergence + hard * cross entropy of each row of (rows, n), and the gradient.

    labels, soft, hard: (rows,); a row whose weights are both 0 gives 0, whatever it holds.
    """
    rows, n = student.shape
    dtype = _compute_dtype(student, teacher)
    losses = np.empty(rows)
    grad = np.empty((rows, n), student.dtype) if return_grad else None
    whole = all(x.dtype == dtype and x.flags.c_contiguous for x in (student, teacher))
    step = max(1, rows if whole else _PIECE // n)
    for i in range(0, rows, step):
        part = slice(i, i + step)
        s, t = _input(student[part], dtype), _input(teacher[part], dtype)
        in_place = return_grad and grad.dtype == dtype
        result = grad[part] if in_place else np.empty_like(s if return_grad else s[:0])
        weights = labels[part], soft[part], hard[part]
        losses[part] = _losses(s, t, *weights, temperature, kind, beta, result)
        if return_grad and not in_place:
            grad[part] = result
    return losses, grad


def linear_distillation_loss(
    hidden_s,
    weight_s,
    hidden_t,
    weight_t,
    labels,
    soft,
    hard,
    temperature,
    kind,
    beta,
    chunk_size=None,
    return_grad=True,
):
    """`distillation_loss` of logits hidden @ weight.T, made for `chunk_size` rows at a time."""
    dtype = _compute_dtype(hidden_s, weight_s, hidden_t, weight_t)
    ws, wt = np.asarray(weight_s, dtype), np.asarray(weight_t, dtype)
    n = len(ws)
    counted = np.flatnonzero((soft != 0) | (hard != 0))  # what the others hold must not matter
    chunk_size = min(chunk_size or max(1, _LOGITS // n), max(1, len(counted)))
    student, teacher = np.empty((chunk_size, n), dtype), np.empty((chunk_size, n), dtype)
    step = max(1, _UPDATE // max(1, ws.shape[1]))
    losses = np.zeros(len(hidden_s))
    grad_hidden = np.zeros(hidden_s.shape, hidden_s.dtype) if return_grad else None
    grad_weight = np.zeros(ws.shape, dtype) if return_grad else None
    for i in range(0, len(counted), chunk_size):
        rows = counted[i : i + chunk_size]
        hs, ht = (x[rows].astype(dtype, copy=False) for x in (hidden_s, hidden_t))
        with np.errstate(invalid="ignore", over="ignore"):
            s = np.matmul(hs, ws.T, out=student[: len(rows)])
            t = np.matmul(ht, wt.T, out=teacher[: len(rows)])
            grad = s if return_grad else s[:0]
            weights = labels[rows], soft[rows], hard[rows]
            losses[rows] = _losses(s, t, *weights, temperature, kind, beta, grad)
            if return_grad:
                # Transposed: OpenBLAS then divides the larger side among its threads, which wait
                # for each other less: 3 times faster where other processes want the CPUs.
                grad_hidden[rows] = (ws.T @ grad.T).T
                for c in range(0, n, step):
                    grad_weight[c : c + step] += grad[:, c : c + step].T @ hs
    if return_grad:
        grad_weight = grad_weight.astype(weight_s.dtype, copy=False)
    return losses, grad_hidden, grad_weight


def _compute_dtype(*arrays):
    return np.dtype(np.float64 if any(x.dtype == np.float64 for x in arrays) else np.float32)


def _input(x, dtype):
    """`x` as the kernels take it: read-only, so that one variant compiles, whatever came."""
    view = np.require(x, dtype, ["C", "A"]).view()
    view.flags.writeable = False
    return view


def _losses(s, t, labels, soft, hard, temperature, kind, beta, grad):
    """Losses of rows, C-contiguous and of one dtype; `grad` has no rows if it is not wanted.

    `grad` may be `s` itself.
    """
    losses = np.empty(len(s))
    s, t = _input(s, s.dtype), _input(t, t.dtype)
    scale, beta = s.dtype.type(1 / temperature), s.dtype.type(beta)
    distill(workers(), s, t, labels, soft, hard, scale, KIND_CODES[kind], beta, losses, grad)
    return losses


def _run(kernel, x):
    wide = _input(x, _compute_dtype(x))
    out = np.empty(x.shape, wide.dtype)
    kernel(workers(), wide, out)
    return out.astype(x.dtype, copy=False)


@njit(fastmath=REORDER)
def _exps(x, m, out):
    """out = exp(x - m) of a row; returns their sum."""
    for i in range(x.size):
        out[i] = exp_difference(x[i], m)
    return row_sum(out)


@njit
def _softmax_block(b, x, out):
    step = rows_per_block(x.shape[1])
    for r in range(b * step, min(x.shape[0], (b + 1) * step)):
        row, result = x[r], out[r]
        total = _exps(row, row_max(row), result)
        if row.itemsize == 8:  # 1 ulp closer than the product, and twice its time
            for i in range(result.size):
                result[i] /= total
        else:
            inverse = row.dtype.type(1 / total)
            for i in range(result.size):
                result[i] *= inverse


@njit
def _log_softmax_block(b, x, out):
    step = rows_per_block(x.shape[1])
    for r in range(b * step, min(x.shape[0], (b + 1) * step)):
        row, result = x[r], out[r]
        m = row_max(row)
        m = m if np.isfinite(m) else x.dtype.type(0)  # as SciPy: finite - inf is -inf
        log_total = x.dtype.type(np.log(_exps(row, m, result)))
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
