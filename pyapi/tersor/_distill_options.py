"""Arguments of the distillation losses, checked, as what the kernels take."""

from __future__ import annotations

from math import isfinite, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arguments import as_index, as_number, check_flag, check_one_of
from ._backends import as_array
from ._dtypes import as_float
from ._retain import as_ratio

_KINDS = ("forward_kl", "reverse_kl", "js", "tvd")
_NORMALIZE = ("batch", "token", "element", "sum")


def as_floats(x: Any, name: str) -> Any:
    """`x` as an array of one of the float dtypes that kernels take."""
    return as_float(as_array(x, name), name)


def row_weights(
    shape: tuple[int, ...],
    labels: Any,
    temperature: float,
    alpha: float | None,
    kind: str,
    beta: float,
    normalize: str,
    scale_t2: bool,
    ignore_index: int | None,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Checks the options; a label and the weights of the soft and the hard loss for each row.

    They hold all of alpha, T**2, N and ignore_index, so kernels know none of these.
    """
    temperature = positive(temperature, "temperature")
    check_one_of(kind, _KINDS, "kind")
    check_one_of(normalize, _NORMALIZE, "normalize")
    check_flag(scale_t2, "scale_t2")
    if not 0 < as_number(beta, "beta") < 1 and kind == "js":
        raise ValueError(
            f"beta must be between 0 and 1, got {beta}: "
            'at its ends use kind="forward_kl" or "reverse_kl"'
        )
    alpha = None if alpha is None else as_ratio(alpha, "alpha")
    if alpha is not None and labels is None:
        raise ValueError(f"alpha={alpha} weighs the loss of labels: labels must be given")
    rows = prod(shape[:-1])
    taken, counted = np.zeros(rows, np.int64), np.ones(rows, np.bool_)
    if labels is not None:
        taken, counted = _check_labels(
            labels, shape, -100 if ignore_index is None else as_index(ignore_index, "ignore_index")
        )
        if alpha is None and ignore_index is None:
            raise ValueError(
                "alpha, the weight of the loss of labels, must be given with them: without it they "
                "can only say which rows to ignore, and for that ignore_index must be given"
            )
    count = {
        "batch": shape[0] if len(shape) > 1 else 1,
        "token": int(counted.sum()),
        "element": prod(shape),
        "sum": 1,
    }[normalize]
    each = counted / max(count, 1)
    alpha = alpha or 0.0
    return taken, each * ((1 - alpha) * (temperature**2 if scale_t2 else 1)), each * alpha


def _check_labels(labels: Any, shape: tuple[int, ...], ignore_index: int) -> tuple[Any, Any]:
    """Labels of the rows as int64, 0 where ignored, and which rows count."""
    labels = as_array(labels, "labels")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    if labels.shape != shape[:-1]:
        raise ValueError(f"labels must have shape {shape[:-1]}, got {labels.shape}")
    counted = (labels != ignore_index).reshape(-1)
    wrong = counted & ((labels < 0) | (labels >= shape[-1])).reshape(-1)
    if wrong.any():
        raise ValueError(
            f"labels must be in 0..{shape[-1] - 1} or ignore_index={ignore_index}, "
            f"got {labels.reshape(-1)[wrong][0]}"
        )
    return np.where(counted, labels.reshape(-1), 0).astype(np.int64), counted


def positive(x: float, name: str) -> float:
    """`x` as a float."""
    x = float(as_number(x, name))
    if not (isfinite(x) and x > 0):
        raise ValueError(f"{name} must be positive and finite, got {x}")
    return x
