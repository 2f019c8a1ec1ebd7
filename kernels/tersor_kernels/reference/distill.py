"""Softmax and distillation losses, in a wider type than the input."""

import numpy as np


def softmax(x):
    """exp(x - max) / sum(exp(x - max)) of each row of (rows, n)."""
    dtype, x = x.dtype, _wide(x)
    with np.errstate(invalid="ignore"):
        exps = np.exp(x - _row_max(x))
        return (exps / exps.sum(axis=1, keepdims=True)).astype(dtype)


def log_softmax(x):
    """x - max - log(sum(exp(x - max))) of each row of (rows, n); max = 0 if it is infinite."""
    dtype, x = x.dtype, _wide(x)
    m = _row_max(x)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return _log_softmax(x, np.where(np.isfinite(m), m, 0)).astype(dtype)


def distillation_loss(
    student, teacher, labels, soft, hard, temperature, kind, beta, return_grad=True
):
    """soft * divergence + hard * cross entropy of each row of (rows, n), and the gradient.

    labels, soft, hard: (rows,); a row whose weights are both 0 gives 0, whatever it holds.
    """
    s, t = _wide(student, teacher)
    losses, grad = _losses(s, t, labels, soft, hard, temperature, kind, beta)
    with np.errstate(over="ignore"):
        return losses, grad.astype(student.dtype) if return_grad else None


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
    """`distillation_loss` of logits hidden @ weight.T, which are held whole here."""
    hs, ws, ht, wt = _wide(hidden_s, weight_s, hidden_t, weight_t)
    counted = (soft != 0) | (hard != 0)
    hs, ht = np.where(counted[:, None], hs, 0), np.where(counted[:, None], ht, 0)
    with np.errstate(invalid="ignore"):
        s, t = hs @ ws.T, ht @ wt.T
        losses, grad = _losses(s, t, labels, soft, hard, temperature, kind, beta)
        if not return_grad:
            return losses, None, None
        return losses, (grad @ ws).astype(hidden_s.dtype), (grad.T @ hs).astype(weight_s.dtype)


def _wide(*arrays):
    """The arrays with digits to spare: in float64, or in longdouble if one is float64 itself."""
    is_double = any(x.dtype.name == "float64" for x in arrays)
    wide = [x.astype(np.longdouble if is_double else np.float64, "C") for x in arrays]
    return wide if len(wide) > 1 else wide[0]


def _row_max(x):
    return x.max(axis=1, keepdims=True, initial=-np.inf)


def _log_softmax(x, m):
    shifted = x - m
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _losses(s, t, labels, soft, hard, temperature, kind, beta):
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        log_q = _log_softmax(s / temperature, _row_max(s / temperature))
        log_p = _log_softmax(t / temperature, _row_max(t / temperature))
        terms, slope = _divergence(log_q, log_p, kind, beta)
        cross, cross_slope = _cross_entropy(s, labels)
        divergence = np.maximum(terms.sum(axis=1), 0)  # not -1e-20 where p is all but q
        losses = _times(soft, divergence) + _times(hard, cross)
        grad = _times(soft[:, None] / temperature, slope) + _times(hard[:, None], cross_slope)
    return losses.astype(np.float64), grad


def _divergence(log_q, log_p, kind, beta):
    """Terms of the divergence of student q and teacher p, and its gradient in the logits of q."""
    q, p = np.exp(log_q), np.exp(log_p)
    if kind == "forward_kl":
        return _times(p, log_p - log_q), q - p
    if kind == "reverse_kl":
        slope = log_q - log_p
        terms = _times(q, slope)
    elif kind == "js":
        log_m = np.log(beta * p + (1 - beta) * q)
        slope = (1 - beta) * (log_q - log_m)
        terms = beta * _times(p, log_p - log_m) + _times(q, slope)
    else:
        slope = np.sign(q - p) / 2
        terms = np.abs(q - p) / 2
    return terms, _times(q, slope - _times(q, slope).sum(axis=1, keepdims=True))


def _cross_entropy(s, labels):
    """-log softmax(s)[label], and its gradient."""
    rows = np.arange(len(s))
    log_q = _log_softmax(s, _row_max(s))
    grad = np.exp(log_q)
    grad[rows, labels] -= 1
    return -log_q[rows, labels], grad


def _times(weight, x):
    """weight * x where 0 * inf is 0, and so is 0 * NaN."""
    return np.where(weight == 0, 0, weight * x)
