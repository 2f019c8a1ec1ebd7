"""Training of a perceptron's dense layers: backpropagation, Adam, masks that hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._mlp_layers import DenseLayer
from ._retain import as_ratio

# (logits, the numbers of their rows in x) -> mean loss of the rows, its gradient.
Loss = Callable[[NDArray[Any], NDArray[np.intp]], tuple[float, NDArray[Any]]]

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8  # Adam's, as in its paper


@dataclass(frozen=True)
class Settings:
    """How long and how fast to train."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float


@np.errstate(over="ignore", invalid="ignore")  # a loss that is not finite is an error below
def train(
    layers: Sequence[DenseLayer],
    x: NDArray[Any],
    loss: Loss,
    settings: Settings,
    rng: np.random.Generator,
    retain_schedule: Callable[[int], float] | None = None,
) -> tuple[list[DenseLayer], list[float]]:
    """New layers, trained from `layers`, and the mean loss of each epoch.

    Adam with decoupled weight decay (Loshchilov and Hutter, 2017) of the weights, not the biases;
    the learning rate falls to 0 along half a cosine. `retain_schedule` gives, for the number of
    each epoch, the share of the weights of each layer that stays from its start on. Raises
    FloatingPointError if the loss of an epoch is not finite.
    """
    parameters, layers = _flat(layers)
    gradient, gradients = _flat(layers)
    weights = parameters[: sum(layer.weight.size for layer in layers)]
    adam = _Adam(parameters, gradient, weights)
    pruned = _pruned(layers)
    steps = settings.epochs * -(-len(x) // settings.batch_size)
    step, curve = 0, []
    for epoch in range(settings.epochs):
        if retain_schedule is not None:
            ratio = as_ratio(retain_schedule(epoch), f"retain_schedule({epoch})")
            layers = [replace(layer, mask=layer.retained(ratio)) for layer in layers]
            pruned = _pruned(layers)
            weights[pruned] = 0
        order, total = rng.permutation(len(x)), 0.0
        for start in range(0, len(x), settings.batch_size):
            rows = order[start : start + settings.batch_size]
            total += len(rows) * backpropagate(layers, x[rows], rows, loss, gradients)
            rate = settings.learning_rate * (1 + np.cos(np.pi * step / steps)) / 2
            step += 1
            adam.update(step, rate, settings.weight_decay)
            if pruned is not None:
                np.copyto(weights, 0, where=pruned)
        if not isfinite(total):
            raise FloatingPointError(f"the loss is {total} in epoch {epoch}: lower learning_rate")
        curve.append(total / len(x))
    return [_owned(layer) for layer in layers], curve


def backpropagate(
    layers: Sequence[DenseLayer],
    x: NDArray[Any],
    rows: NDArray[np.intp],
    loss: Loss,
    gradients: Sequence[DenseLayer],
) -> float:
    """The loss for x, which are the rows `rows` of the data; its derivatives go to `gradients`.

    Through the rounding of fake-quantized layers gradients pass as if it were not there (the
    straight-through estimator of Bengio et al., 2013): with absmax scales nothing is clipped.
    """
    inputs, factors = [x], []
    for layer in layers:
        factors.append(layer.factors(inputs[-1]))
        h, weight = factors[-1]
        y = h @ weight.T
        y += layer.bias
        inputs.append(np.maximum(y, 0))
    value, g = loss(y, rows)
    for i in reversed(range(len(layers))):
        h, weight = factors[i]
        np.matmul(g.T, h, out=gradients[i].weight)
        g.sum(axis=0, out=gradients[i].bias)
        if i > 0:
            g = g @ weight
            g[inputs[i] == 0] = 0
    return value


class _Adam:
    """Adam (Kingma and Ba, 2014) on one flat array of parameters, in place."""

    def __init__(self, parameters: Any, gradient: Any, decayed: Any) -> None:
        self.parameters, self.gradient, self.decayed = parameters, gradient, decayed
        self.mean, self.square = np.zeros_like(parameters), np.zeros_like(parameters)
        self.work = np.empty_like(parameters)

    def update(self, step: int, rate: float, weight_decay: float) -> None:
        """Step number `step`, from 1."""
        self.mean *= _BETA1
        self.mean += np.multiply(self.gradient, 1 - _BETA1, out=self.work)
        self.square *= _BETA2
        np.square(self.gradient, out=self.work)
        self.work *= 1 - _BETA2
        self.square += self.work
        self.decayed *= 1 - rate * weight_decay
        np.sqrt(self.square, out=self.work)
        self.work /= np.sqrt(1 - _BETA2**step)
        self.work += _EPSILON
        np.divide(self.mean, self.work, out=self.work)
        self.work *= rate / (1 - _BETA1**step)
        self.parameters -= self.work


def _flat(layers: Sequence[DenseLayer]) -> tuple[NDArray[Any], list[DenseLayer]]:
    """A copy of all weights, then all biases, in one array, and layers that are views of it."""
    arrays = [layer.weight for layer in layers] + [layer.bias for layer in layers]
    flat = np.concatenate([array.ravel() for array in arrays])
    parts = np.split(flat, np.cumsum([array.size for array in arrays])[:-1])
    views = [part.reshape(array.shape) for part, array in zip(parts, arrays, strict=True)]
    weights, biases = views[: len(layers)], views[len(layers) :]
    return flat, [
        replace(layer, weight=weight, bias=bias)
        for layer, weight, bias in zip(layers, weights, biases, strict=True)
    ]


def _pruned(layers: Sequence[DenseLayer]) -> NDArray[np.bool_] | None:
    """Where the weights, in the order of `_flat`, are pruned; None if no layer has a mask."""
    if all(layer.mask is None for layer in layers):
        return None
    return np.concatenate(
        [
            np.zeros(layer.weight.size, bool) if layer.mask is None else ~layer.mask.ravel()
            for layer in layers
        ]
    )


def _owned(layer: DenseLayer) -> DenseLayer:
    return replace(layer, weight=layer.weight.copy(), bias=layer.bias.copy())
