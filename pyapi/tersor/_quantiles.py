"""Between which order statistics a quantile lies, and how they are mixed: NumPy's definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# at = n q + alpha + q (1 - alpha - beta) - 1, from 0 (Hyndman and Fan, 1996)
_CONTINUOUS = {
    "interpolated_inverted_cdf": (0, 1),
    "hazen": (0.5, 0.5),
    "weibull": (0, 0),
    "median_unbiased": (1 / 3.0, 1 / 3.0),
    "normal_unbiased": (3 / 8.0, 3 / 8.0),
}
_DISCRETE = ("inverted_cdf", "closest_observation", "lower", "higher", "nearest")
METHODS = (*_CONTINUOUS, *_DISCRETE, "linear", "midpoint", "averaged_inverted_cdf")


def positions(method: str, n: Any, q: NDArray[np.float64]) -> tuple[Any, Any, Any]:
    """The ranks below and above each quantile of n entries, and the share of the upper one.

    The share is None where a method picks one entry. The roundings are NumPy's, step by step.
    """
    if method in _DISCRETE:
        rank = _picked(method, n, q).astype(np.int64)
        return rank, rank, None
    if method == "linear":
        at = (n - 1) * q
    elif method == "midpoint":
        at = 0.5 * (np.floor((n - 1) * q) + np.ceil((n - 1) * q))
    elif method == "averaged_inverted_cdf":
        at = n * q - 1
    else:
        alpha, beta = _CONTINUOUS[method]
        at = n * q + (alpha + q * (1 - alpha - beta)) - 1
    below = np.floor(at)
    share = at - below
    if method == "midpoint":
        share = np.where(share == 0, 0.0, 0.5)
    elif method == "averaged_inverted_cdf":
        share = np.where(share == 0, 0.5, 1.0)
    last = np.maximum(n - 1, 0)
    return (
        np.clip(below, 0, last).astype(np.int64),
        # At the last entry and below the first, both are the same one.
        np.where(at < 0, 0, np.minimum(below + 1, last)).astype(np.int64),
        share,
    )


def _picked(method: str, n: Any, q: NDArray[np.float64]) -> Any:
    if method == "lower":
        return np.floor((n - 1) * q)
    if method == "higher":
        return np.ceil((n - 1) * q)
    if method == "nearest":
        return np.around((n - 1) * q)
    at = n * q - 1 if method == "inverted_cdf" else n * q - 1 - 0.5
    below = np.floor(at)
    stays = at == below
    if method == "closest_observation":
        stays &= below % 2 == 1
    return np.maximum(np.where(stays, below, below + 1), 0)


def mix(below: Any, above: Any, share: Any, is_weak: bool) -> Any:
    """below + (above - below) * share, from the nearer end.

    is_weak : the quantiles were a Python number, so that floats keep their dtype
    """
    if below.dtype.kind in "iu" and below.dtype.itemsize < 8:  # NumPy lets the difference overflow
        below, above = below.astype(np.int64), above.astype(np.int64)
    dtype = below.dtype if is_weak and below.dtype.kind == "f" else np.float64
    difference = above - below
    result = np.asarray(below + difference * share.astype(dtype))
    rest = difference * (1 - share).astype(dtype)
    np.subtract(above, rest, out=result, where=share >= 0.5, casting="unsafe", dtype=result.dtype)
    return result
