"""Softmax and distillation losses, with their gradients, as plain array functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arguments import as_index, check_flag
from ._backends import array_function, kernels
from ._distill_options import as_floats, positive, row_weights
from ._rows import as_rows, normalize_axis


@array_function
def softmax(x: ArrayLike, axis: int | None = None, *, backend: str | None = None) -> NDArray[Any]:
    """exp(x) / sum(exp(x)) along an axis.

    Parameters
    ----------
    x : array, any shape, float16, bfloat16, float32, float64; integers and bools as float64
    axis : int, optional
        Axis that sums to one; the whole array if None.
    backend : str, optional
        Run on this backend instead of the one that owns `x`.

    Returns
    -------
    array of the shape and float dtype of `x`
        Within 4 units of the last place; float16 and bfloat16 are computed in float32. An entry of
        -inf gives 0; a slice with NaN, with +inf or with nothing but -inf is NaN throughout, as in
        scipy.special.softmax. An empty slice stays empty.

    Raises
    ------
    TypeError
        `x` is complex or not numeric.
    ValueError
        `axis` is out of range.

    Examples
    --------
    >>> tersor.softmax([0.0, 0.0, -np.inf])
    array([0.5, 0.5, 0. ])
    """
    return _along(x, axis, "softmax", backend)


@array_function
def log_softmax(
    x: ArrayLike, axis: int | None = None, *, backend: str | None = None
) -> NDArray[Any]:
    """x - log(sum(exp(x))) along an axis: log(softmax(x)) without its underflow.

    Parameters, result, edge cases and errors are those of `softmax`, except that -inf
    stays -inf and that beside a +inf, itself NaN, finite entries are -inf. Within 4 units of the
    last place of the result, or of 1 where it is smaller.
    """
    return _along(x, axis, "log_softmax", backend)


@array_function
def kl_divergence(
    p: ArrayLike,
    q: ArrayLike,
    axis: int | None = -1,
    *,
    temperature: float = 1.0,
    backend: str | None = None,
) -> Any:
    """Kullback-Leibler divergence sum(P log(P / Q)), P = softmax(p / T), Q = softmax(q / T).

    The arguments are logits. Log-probabilities are logits, as softmax(log(P)) = P, and so are
    logarithms of counts or of other weights that do not sum to one.

    Parameters
    ----------
    p, q : arrays, float16, bfloat16, float32, float64; integers and bools as float64
        Logits of the distribution that weighs the logarithms (the teacher) and of the one compared
        with it (the student); of the same shape after broadcasting.
    axis : int or None
        Axis of the classes; the whole arrays if None.
    temperature : float
        T > 0.
    backend : str, optional
        Run on this backend instead of the one that owns `p`.

    Returns
    -------
    array without `axis`, of the wider dtype of `p` and `q`; a scalar if no axis is left
        At least 0, in nats. 0 log 0 = 0: an entry of -inf, a forbidden class, adds nothing where
        both have it. inf where Q forbids a class that P does not. NaN where a slice of `p` or `q`
        has NaN, +inf or nothing but -inf. The rounding error is absolute, about as large as the
        logits' distances from their maximum times the dtype's epsilon: 1e-6 in float32.

    Raises
    ------
    TypeError
        `p` or `q` is complex or not numeric.
    ValueError
        The shapes do not broadcast, `axis` is out of range or empty, `temperature` is not positive.

    See Also
    --------
    scipy.stats.entropy : of probabilities rather than logits.

    Examples
    --------
    >>> tersor.kl_divergence(np.log([0.5, 0.5]), np.log([[0.25, 0.75], [0.5, 0.5]])).round(6)
    array([0.143841, 0.      ])
    """
    teacher, student = as_floats(p, "p"), as_floats(q, "q")
    temperature = positive(temperature, "temperature")
    dtype = teacher.dtype
    if student.dtype != dtype:
        dtype = np.dtype("float64" if "float64" in (student.dtype, dtype) else "float32")
    try:
        teacher, student = np.broadcast_arrays(teacher, student)
    except ValueError:
        raise ValueError(
            f"p and q must broadcast, got shapes {teacher.shape} and {student.shape}"
        ) from None
    if axis is None:
        teacher, student, axis = teacher.reshape(-1), student.reshape(-1), 0
    axis = normalize_axis(axis, teacher.ndim, "p or q")
    if teacher.shape[axis] == 0:
        raise ValueError(f"p and q must not be empty along axis {axis}, got shape {teacher.shape}")
    teacher, restore = as_rows(teacher, axis)
    student, _ = as_rows(student, axis)
    losses, _ = kernels("distill", teacher, backend).distillation_loss(
        student,
        teacher,
        labels=np.zeros(len(teacher), np.int64),
        soft=np.ones(len(teacher)),
        hard=np.zeros(len(teacher)),
        temperature=temperature,
        kind="forward_kl",
        beta=0.5,
        return_grad=False,
    )
    return restore(losses.astype(dtype)[:, None]).squeeze(axis)[()]


@array_function
def distillation_loss(
    student: ArrayLike,
    teacher: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    temperature: float = 1.0,
    alpha: float | None = None,
    kind: str = "forward_kl",
    beta: float = 0.5,
    normalize: str = "batch",
    scale_t2: bool = True,
    ignore_index: int | None = None,
    return_grad: bool = True,
    backend: str | None = None,
) -> tuple[float, Any]:
    """Distillation loss of a student's logits, and its gradient.

    With Q = softmax(student / T), P = softmax(teacher / T), H = softmax(student), all along the
    last axis, and N the number that `normalize` names::

        loss = sum over rows of (alpha * -log(H[label]) + (1 - alpha) * T**2 * D(P, Q)) / N

        D = sum(P log(P / Q))                                  kind="forward_kl" (Hinton)
        D = sum(Q log(Q / P))                                  kind="reverse_kl"
        D = beta sum(P log(P / M)) + (1 - beta) sum(Q log(Q / M)),
            M = beta P + (1 - beta) Q                          kind="js"
        D = sum(|P - Q|) / 2                                   kind="tvd"

    Without `alpha` the loss is sum(T**2 * D) / N. T**2 is left out if not `scale_t2`. Nothing else
    is: the teacher's entropy, constant in the student, stays in.

    Parameters
    ----------
    student, teacher : arrays, shape (..., classes), float16, bfloat16, float32, float64
        Logits; integers and bools as float64. A row is one position of the other axes.
    labels : array of integers, shape (...), optional
        The class of each row, 0..classes-1, or `ignore_index`: such a row adds nothing to the loss,
        has a gradient of 0, whatever its logits are, and is no token.
    temperature : float
        T > 0. The hard loss is that of T = 1.
    alpha : float, optional
        Weight of the loss of the labels, 0..1; must be given with `labels`, and only with them. At
        1 the teacher is not looked at. With an `ignore_index` it may be left out: then the labels
        only say which rows to ignore.
    kind : {"forward_kl", "reverse_kl", "js", "tvd"}
        The divergence D.
    beta : float
        For kind="js", in the open interval (0, 1). At its ends D is 0; libraries that take 0 and 1
        there switch to forward_kl and reverse_kl, which are not the limits: ask for them by name.
    normalize : {"batch", "token", "element", "sum"}
        N = student.shape[0] (1 if there is one axis), the number of rows not ignored, student.size
        (ignored or not), or 1.
    scale_t2 : bool
        Multiply D by T**2, which keeps the gradient's size as T grows.
    ignore_index : int, optional
        Label of the rows that do not count; -100 if None.
    return_grad : bool
        If False, the gradient is None and not computed.
    backend : str, optional
        Run on this backend instead of the one that owns `student`.

    Returns
    -------
    loss : float
        0.0 if no row counts.
    grad : array of the shape and float dtype of `student`, or None
        d loss / d student. Each row sums to 0.

    Raises
    ------
    TypeError
        An array is complex or not numeric, or `labels` are not integers.
    ValueError
        The shapes differ, there is no class, a label is out of range, or an option is; `labels`
        are given without `alpha` and `ignore_index`, so that they would change nothing.

    Notes
    -----
    0 log 0 = 0, so logits of -inf, classes that are masked, are legal. If the student forbids a
    class that the teacher does not, forward_kl is inf, with a finite gradient. The other way round
    reverse_kl is inf and the row's gradient is not finite. NaN, +inf, or nothing but -inf in a row
    makes the loss and that row's gradient NaN. tvd has no derivative where P = Q: 0 is taken.

    float16 and bfloat16 are computed in float32, two dtypes in the wider one; sums over the rows in
    float64. Of contiguous logits no copy is made: the gradient is the only array of their size. The
    bits do not depend on the number of threads.

    What is rounded are mostly the distances of the logits from their largest, d = (max - logit) / T
    of student or teacher, whichever is farther. With eps that of the dtype and w = (1 - alpha)
    T**2 / N, an entry of the gradient of D is within 4 eps (1 + d) max(P, Q) w / T; for reverse_kl,
    times 1 + abs(log(Q / P) - D). For tvd the sign of P - Q is arbitrary where they agree to
    rounding. The hard loss adds 4 eps (1 + d) H alpha / N with the d of T = 1. The loss of a row is
    within 4 eps w (1 + 2 d), d averaged over P or Q.

    Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network (2015), for forward_kl and
    T**2; Agarwal et al.: On-Policy Distillation of Language Models (2024), for the generalised js.

    Examples
    --------
    >>> loss, grad = tersor.distillation_loss([[0.0, 0.0]], np.log([[0.25, 0.75]]))
    >>> round(loss, 6), grad
    (0.130812, array([[ 0.25, -0.25]]))
    """
    s, t = as_floats(student, "student"), as_floats(teacher, "teacher")
    if s.shape != t.shape:
        raise ValueError(f"student and teacher must have one shape, got {s.shape} and {t.shape}")
    check_flag(return_grad, "return_grad")
    if s.ndim == 0 or s.shape[-1] == 0:
        raise ValueError(f"student must have a last axis of classes, got shape {s.shape}")
    taken, soft, hard = row_weights(
        s.shape, labels, temperature, alpha, kind, beta, normalize, scale_t2, ignore_index
    )
    losses, grad = kernels("distill", s, backend).distillation_loss(
        s.reshape(len(soft), s.shape[-1]),
        t.reshape(len(soft), s.shape[-1]),
        labels=taken,
        soft=soft,
        hard=hard,
        temperature=float(temperature),
        kind=kind,
        beta=float(beta),
        return_grad=return_grad,
    )
    return float(losses.sum()), grad.reshape(s.shape) if return_grad else None


@array_function
def linear_distillation_loss(
    hidden_s: ArrayLike,
    weight_s: ArrayLike,
    hidden_t: ArrayLike,
    weight_t: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    temperature: float = 1.0,
    alpha: float | None = None,
    kind: str = "forward_kl",
    beta: float = 0.5,
    normalize: str = "batch",
    scale_t2: bool = True,
    ignore_index: int | None = None,
    return_grad: bool = True,
    chunk_size: int | None = None,
    backend: str | None = None,
) -> tuple[float, Any, Any]:
    """`distillation_loss` of the logits of two linear layers, which are never held whole.

    loss = distillation_loss(hidden_s @ weight_s.T, hidden_t @ weight_t.T, labels, ...), made for
    `chunk_size` rows at a time: for a vocabulary of 128,000 and 4096 tokens the logits alone would
    take 4 GB in float32, here 64 MB. Rows that `labels` ignore are not multiplied at all.

    Parameters
    ----------
    hidden_s, hidden_t : arrays, shape (..., width), float16, bfloat16, float32, float64
        What goes into the last layer; the widths of student and teacher may differ.
    weight_s, weight_t : arrays, shape (classes, width)
    labels, temperature, alpha, kind, beta, normalize, scale_t2, ignore_index, return_grad, backend
        As in `distillation_loss`, for logits of shape (..., classes).
    chunk_size : int, optional
        Rows whose logits are held at a time; by default as many as make 8,388,608 logits.

    Returns
    -------
    loss : float
    grad_hidden_s, grad_weight_s : arrays of the shapes and float dtypes of `hidden_s`, `weight_s`
        d loss / d hidden_s and d loss / d weight_s, or None if not `return_grad`.

    Raises
    ------
    TypeError
        An array is complex or not numeric, or `labels` are not integers.
    ValueError
        Shapes do not fit, there is no class, a label is out of range, or an option is.

    Notes
    -----
    Edge cases are those of `distillation_loss`. Products are float64 if one of the four arrays is,
    else float32 (weights of 16 bits are widened whole), by the BLAS of NumPy: their last bits, and
    those of sums over chunks, depend on it and on `chunk_size`.

    Examples
    --------
    >>> hidden, weight = np.eye(2), np.log([[0.25, 0.5], [0.75, 0.5]])
    >>> loss, *grads = tersor.linear_distillation_loss(hidden, 0 * weight, hidden, weight)
    >>> round(loss, 6), grads[1]
    (0.065406, array([[ 0.125,  0.   ],
           [-0.125,  0.   ]]))
    """
    hs, ws = _linear(hidden_s, weight_s, "s")
    ht, wt = _linear(hidden_t, weight_t, "t")
    if hs.shape[:-1] != ht.shape[:-1]:
        raise ValueError(
            "hidden_s and hidden_t must have one shape but for the last axis, "
            f"got {hs.shape} and {ht.shape}"
        )
    if len(ws) != len(wt) or len(ws) == 0:
        raise ValueError(
            "weight_s and weight_t must have the same number of rows, 1 or more, "
            f"got {len(ws)} and {len(wt)}"
        )
    check_flag(return_grad, "return_grad")
    if chunk_size is not None and as_index(chunk_size, "chunk_size") < 1:
        raise ValueError(f"chunk_size must be 1 or more, got {chunk_size}")
    shape = (*hs.shape[:-1], len(ws))
    taken, soft, hard = row_weights(
        shape, labels, temperature, alpha, kind, beta, normalize, scale_t2, ignore_index
    )
    losses, grad_hidden, grad_weight = kernels("distill", hs, backend).linear_distillation_loss(
        hs.reshape(len(soft), hs.shape[-1]),
        ws,
        ht.reshape(len(soft), ht.shape[-1]),
        wt,
        labels=taken,
        soft=soft,
        hard=hard,
        temperature=float(temperature),
        kind=kind,
        beta=float(beta),
        chunk_size=chunk_size,
        return_grad=return_grad,
    )
    loss = float(losses.sum())
    return loss, grad_hidden.reshape(hs.shape) if return_grad else None, grad_weight


def _linear(hidden: Any, weight: Any, which: str) -> tuple[Any, Any]:
    """Hidden states and weight of student or teacher, of shapes that fit."""
    hidden, weight = as_floats(hidden, f"hidden_{which}"), as_floats(weight, f"weight_{which}")
    if hidden.ndim == 0 or weight.ndim != 2 or hidden.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"hidden_{which} must have shape (..., width) and weight_{which} (classes, width), "
            f"got {hidden.shape} and {weight.shape}"
        )
    return hidden, weight


def _along(x: Any, axis: int | None, name: str, backend: str | None) -> NDArray[Any]:
    x = as_floats(x, "x")
    if axis is not None and x.ndim > 0:
        rows, restore = as_rows(x, normalize_axis(axis, x.ndim, "x"))
        result: NDArray[Any] = restore(getattr(kernels("distill", x, backend), name)(rows))
        return result
    if axis is not None:
        normalize_axis(axis, 1, "x")
    whole: NDArray[Any] = getattr(kernels("distill", x, backend), name)(x.reshape(1, -1))
    return whole.reshape(x.shape)
