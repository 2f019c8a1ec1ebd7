"""Losses of rows of logits with their gradients: a few passes over a row that stays in cache."""

import numpy as np

from .._jit import njit
from ._common import rows_per_block
from ._math import exp, log, row_max, two_sum
from ._parallel import parallel

# Sums may be reordered into vector lanes; NaN and inf keep their meaning.
REORDER = {"reassoc", "contract", "nsz"}
_FORWARD, _REVERSE, _JS, _TVD = range(4)
KIND_CODES = {"forward_kl": _FORWARD, "reverse_kl": _REVERSE, "js": _JS, "tvd": _TVD}

# The losses of a row. u = s / T and v = t / T less their maxima; q = exp(u) / zq is the student,
# p = exp(v) / zp the teacher, and 0 log 0 = 0.
#
#   forward_kl  D = sum p log(p / q) = sum p (v - u) + log zq - log zp    T dD/ds = q - p
#
# The others depend on s through q alone. With a = dD/dq the chain rule through softmax gives
# T dD/ds = q (a - sum q a), in which a constant that is added to a cancels and is left out:
#
#   reverse_kl  D = sum q log(q / p) = sum q (u - v) + log zp - log zq    a = u - v
#   js          D = beta sum p log(p / m) + (1 - beta) sum q log(q / m),
#               m = beta p + (1 - beta) q                                 a = (1 - beta) log(q / m)
#   tvd         D = sum |q - p| / 2                                       a = sign(q - p) / 2
#
# (js: the derivative of log m cancels, as (beta p + (1 - beta) q) / m = 1.) Nothing is dropped from
# D itself. The hard loss is -log h[label] with h = softmax(s), without T; its gradient h - onehot.


@njit(fastmath=REORDER)
def row_sum(x):
    """Sum of a row of positive numbers, rounded about once.

    It divides every entry: summed in their own dtype, 100 exponentials are off by up to 5 units of
    the last place. Apart from the loop that fills the row, as conversions there cost twice as much.
    """
    total, error = 0.0, 0.0
    for i in range(x.size):
        if x.itemsize == 4:
            total += np.float64(x[i])
        else:
            total, rounding = two_sum(total, x[i])
            error += rounding
    return total + error if np.isfinite(total) else total


@njit(fastmath=REORDER)
def _scaled_exps(x, m, scale, out):
    """out = exp((x - m) scale) of a row; returns their sum."""
    for i in range(x.size):
        out[i] = exp((x[i] - m) * scale)
    return row_sum(out)


@njit(forceinline=True)  # its order stays: s - t first would lose all digits of a small t
def _difference(s, ms, t, mt):
    return (s - ms) - (t - mt)


@njit(fastmath=REORDER)
def _forward_sum(s, ms, t, mt, p):
    """Sum of p ((t - mt) - (s - ms)); p is not normalised."""
    total = 0.0
    for i in range(p.size):
        difference = _difference(t[i], mt, s[i], ms)  # NaN where both are -inf
        total += np.float64(p[i] * difference if p[i] != 0 else p[i])
    return total


@njit(fastmath=REORDER)
def _reverse_slopes(s, ms, t, mt, scale, q, slope):
    """Writes a; returns the sum of q a. q is not normalised."""
    total = 0.0
    for i in range(q.size):
        difference = _difference(s[i], ms, t[i], mt)
        a = difference * scale if q[i] != 0 else q[i]
        slope[i] = a
        total += np.float64(q[i] * a)
    return total


@njit(fastmath=REORDER)
def _js_slopes(beta, q, inverse_zq, slope, inverse_zp):
    """Writes a over exp(v); returns the divergence and the sum of q a / zq."""
    one, smallest = q.dtype.type(1), np.finfo(q.dtype).tiny
    teacher, student = 0.0, 0.0
    for i in range(q.size):
        qi, pi = q[i] * inverse_zq, slope[i] * inverse_zp
        m = beta * pi + (one - beta) * qi
        m = m if m != 0 else smallest  # of two denormals, or of two zeros
        from_p = pi * log(pi / m) if pi != 0 else pi
        a = (one - beta) * log(qi / m) if qi != 0 else qi
        slope[i] = a
        teacher += np.float64(from_p)
        student += np.float64(qi * a)
    return np.float64(beta) * teacher + student, student


@njit(forceinline=True)  # no contraction: a fused a b - c d is not 0 where both products are equal
def _product_difference(a, b, c, d):
    return a * b - c * d


@njit(fastmath=REORDER)
def _tvd_slopes(q, inverse_zq, slope, inverse_zp):
    """Writes a over exp(v); returns the divergence and the sum of q a / zq."""
    half, zero = q.dtype.type(0.5), q.dtype.type(0)
    distance, student = 0.0, 0.0
    for i in range(q.size):
        difference = _product_difference(q[i], inverse_zq, slope[i], inverse_zp)
        a = (half if difference > 0 else zero) - (half if difference < 0 else zero)
        slope[i] = a
        distance += np.float64(abs(difference))
        student += np.float64(q[i] * inverse_zq * a)
    return distance / 2, student


@njit(fastmath=REORDER)
def _combine(x, a, y, b, out):
    """out = a x - b y."""
    for i in range(out.size):
        out[i] = a * x[i] - b * y[i]


@njit(fastmath=REORDER)
def _combine_slopes(q, factor, slope, mean, out):
    """out = factor q (slope - mean)."""
    for i in range(out.size):
        out[i] = factor * q[i] * (slope[i] - mean)


@njit(fastmath=REORDER)
def _add(x, factor, out):
    for i in range(out.size):
        out[i] += factor * x[i]


@njit
def _soft_loss(s, t, weight, scale, kind, beta, q, p, grad):
    """weight * divergence of a row; its gradient goes into `grad`, unless that is empty."""
    real = s.dtype.type
    ms, mt = row_max(s), row_max(t)
    zq, zp = _scaled_exps(s, ms, scale, q), _scaled_exps(t, mt, scale, p)
    factor, mean = weight * np.float64(scale) / zq, 0.0
    if kind == _FORWARD:
        loss = _forward_sum(s, ms, t, mt, p) * np.float64(scale) / zp + np.log(zq / zp)
    elif kind == _REVERSE:
        mean = _reverse_slopes(s, ms, t, mt, scale, q, p) / zq
        loss = mean + np.log(zp / zq)
    elif kind == _JS:
        loss, mean = _js_slopes(beta, q, real(1 / zq), p, real(1 / zp))
    else:
        loss, mean = _tvd_slopes(q, real(1 / zq), p, real(1 / zp))
        mean = loss if np.isnan(loss) else mean  # a NaN of the teacher has no sign
    if grad.size > 0 and kind == _FORWARD:
        _combine(q, real(factor), p, real(weight * np.float64(scale) / zp), grad)
    elif grad.size > 0:
        _combine_slopes(q, real(factor), p, real(mean), grad)
    return weight * (loss if not loss < 0 else 0.0)  # not: NaN stays


@njit
def _distill_block(b, student, teacher, labels, soft, hard, scale, kind, beta, losses, grad):
    rows, n = student.shape
    q, p, h = np.empty(n, student.dtype), np.empty(n, student.dtype), np.empty(n, student.dtype)
    step = rows_per_block(n)
    one = student.dtype.type(1)
    for r in range(b * step, min(rows, (b + 1) * step)):
        s = student[r]
        result = grad[r] if grad.shape[0] > 0 else grad.reshape(grad.size)
        # The hard loss first: the gradient may be written over s.
        loss, zh = 0.0, 1.0
        if hard[r] != 0:
            m = row_max(s)
            zh = _scaled_exps(s, m, one, h)
            loss = hard[r] * (np.log(zh) - np.float64(s[labels[r]] - m))
        if soft[r] != 0:
            loss += _soft_loss(s, teacher[r], soft[r], scale, kind, beta, q, p, result)
        else:
            result[:] = 0
        if hard[r] != 0 and result.size > 0:
            _add(h, student.dtype.type(hard[r] / zh), result)
            result[labels[r]] -= student.dtype.type(hard[r])
        losses[r] = loss


@njit
def distill(pool, s, t, labels, soft, hard, scale, kind, beta, losses, grad):
    args = (s, t, labels, soft, hard, scale, kind, beta, losses, grad)
    work = s.size * (4 if s.itemsize == 4 else 30)
    parallel(pool, _distill_block, -(-s.shape[0] // rows_per_block(s.shape[1])), args, work)
