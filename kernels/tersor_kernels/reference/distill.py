"""Softmax and distillation losses in float64."""

import numpy as np


def softmax(x):
    """exp(x - max) / sum(exp(x - max)) of each row of (rows, n)."""
    dtype, x = x.dtype, x.astype(np.float64)
    with np.errstate(invalid="ignore"):
        exps = np.exp(x - x.max(axis=1, keepdims=True, initial=-np.inf))
        return (exps / exps.sum(axis=1, keepdims=True)).astype(dtype)


def log_softmax(x):
    """x - max - log(sum(exp(x - max))) of each row of (rows, n); max = 0 if it is infinite."""
    dtype, x = x.dtype, x.astype(np.float64)
    m = x.max(axis=1, keepdims=True, initial=-np.inf)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        shifted = x - np.where(np.isfinite(m), m, 0)
        return (shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))).astype(dtype)
