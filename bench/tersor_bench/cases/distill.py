"""Cases of softmax and distillation losses."""

import numpy as np
import scipy.special

import tersor

from ..case import Case, optional

T = 2.0


def _logits(shape, dtype, rng):
    return (3 * rng.standard_normal(shape)).astype(dtype)


def _pair(shape, dtype, rng):
    return _logits(shape, dtype, rng), _logits(shape, dtype, rng)


def _layers(shape, dtype, rng):
    """Hidden states and weights of student and teacher, for logits of N(0, 3)."""
    tokens, width, classes = shape
    scale = 3 / np.sqrt(width)
    hidden = rng.standard_normal((2, tokens, width)).astype(dtype)
    weight = (scale * rng.standard_normal((2, classes, width))).astype(dtype)
    return hidden[0], weight[0], hidden[1], weight[1]


def _torch_softmax(x):
    torch = optional("torch")
    if torch is None:
        return None
    tensor = torch.from_numpy(x)
    return lambda: torch.softmax(tensor, -1)


def _torch_loss(torch, student, teacher):
    log_q = torch.log_softmax(student / T, -1)
    p = torch.softmax(teacher / T, -1)
    return torch.nn.functional.kl_div(log_q, p, reduction="batchmean") * T**2


def _torch_distillation(pair):
    torch = optional("torch")
    if torch is None:
        return None
    student, teacher = map(torch.from_numpy, pair)

    def call():
        s = student.detach().requires_grad_(True)
        loss = _torch_loss(torch, s, teacher)
        loss.backward()
        return loss.item(), s.grad

    return call


def _torch_linear(layers):
    torch = optional("torch")
    if torch is None:
        return None
    hs, ws, ht, wt = map(torch.from_numpy, layers)

    def call():
        hidden, weight = hs.detach().requires_grad_(True), ws.detach().requires_grad_(True)
        loss = _torch_loss(torch, hidden @ weight.T, ht @ wt.T)
        loss.backward()
        return loss.item(), hidden.grad, weight.grad

    return call


def _check_softmax(x, result):
    want = scipy.special.softmax(x.astype(np.float64), -1)
    np.testing.assert_allclose(np.asarray(result), want, rtol=1e-4)


def _check_distillation(pair, result):
    student, teacher = (x.astype(np.float64) / T for x in pair)
    q, p = scipy.special.softmax(student, -1), scipy.special.softmax(teacher, -1)
    loss, grad = result
    np.testing.assert_allclose(loss, T**2 * scipy.special.rel_entr(p, q).sum(-1).mean(), rtol=1e-5)
    np.testing.assert_allclose(np.asarray(grad), T * (q - p) / len(q), atol=1e-5 * T / len(q))


def _check_linear(layers, result):
    hs, ws, ht, wt = (x.astype(np.float64) for x in layers)
    loss, grad = tersor.distillation_loss(hs @ ws.T, ht @ wt.T, temperature=T)
    np.testing.assert_allclose(result[0], loss, rtol=1e-4)
    for got, want in zip(result[1:], (grad @ ws, grad.T @ hs), strict=True):
        np.testing.assert_allclose(np.asarray(got), want, atol=1e-4 * np.abs(want).max())


def _linear_bytes(shape, itemsize):
    """The four arrays read and the two gradients written."""
    tokens, width, classes = shape
    return 3 * itemsize * width * (tokens + classes)


CASES = (
    *(
        Case(
            op="distill.softmax",
            shape=shape,
            toy=(3, 17),
            dtype="float32",
            inputs=_logits,
            contenders={
                "tersor": lambda x: lambda: tersor.softmax(x, axis=-1),
                "scipy": lambda x: lambda: scipy.special.softmax(x, -1),
                "torch": _torch_softmax,
            },
            bytes=lambda shape, itemsize: 2 * itemsize * shape[0] * shape[1],
            check=_check_softmax,
        )
        for shape in ((4096, 1000), (512, 32000))
    ),
    *(
        Case(
            op="distill.distillation_loss",
            shape=shape,
            toy=(3, 17),
            dtype="float32",
            inputs=_pair,
            contenders={
                "tersor": lambda pair: lambda: tersor.distillation_loss(*pair, temperature=T),
                "torch": _torch_distillation,
            },
            bytes=lambda shape, itemsize: 3 * itemsize * shape[0] * shape[1],
            check=_check_distillation,
        )
        for shape in ((4096, 1000), (512, 32000))
    ),
    Case(
        op="distill.linear_distillation_loss",
        shape=(512, 256, 32000),
        toy=(5, 4, 17),
        dtype="float32",
        inputs=_layers,
        contenders={
            "tersor": lambda layers: (
                lambda: tersor.linear_distillation_loss(*layers, temperature=T)
            ),
            "torch": _torch_linear,
        },
        bytes=_linear_bytes,
        check=_check_linear,
        flops=lambda shape: 8 * shape[0] * shape[1] * shape[2],
    ),
)
