"""The layers of a perceptron: y = x @ weight.T + bias, with the weight stored in several ways."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .prune import prune_mask
from .quantize import fake_quantize

_ROWS = 4096  # predicted at a time: activations stay in cache, and memory does not grow with x


class Layer(Protocol):
    """A linear layer; never modified."""

    @property
    def bias(self) -> NDArray[Any]:
        """Shape (outputs,)."""

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs)."""

    @property
    def nbytes(self) -> int:
        """Bytes of all that `__call__` reads beside x."""

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        """x, shape (n, inputs) -> a new array, shape (n, outputs)."""

    def dense(self) -> "DenseLayer":
        """The layer that this one stands for, with its weight in floating point."""


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """A layer of floats: the only kind that trains.

    Attributes
    ----------
    weight : float array, shape (outputs, inputs)
    bias : float array, shape (outputs,)
    mask : bool array of the shape of `weight`, optional
        False where the weight was pruned: there it is 0 and stays 0 through training. Only training
        reads it, so `nbytes` does not count it.
    fake_quantized : bool
        Whether the layer computes with weight and x rounded to int8, one scale a row of each, as
        its int8 form will.
    """

    weight: NDArray[Any]
    bias: NDArray[Any]
    mask: NDArray[np.bool_] | None = None
    fake_quantized: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        outputs, inputs = self.weight.shape
        return outputs, inputs

    @property
    def nbytes(self) -> int:
        return self.weight.nbytes + self.bias.nbytes

    def factors(self, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """x and the weight as they are multiplied."""
        if not self.fake_quantized:
            return x, self.weight
        return fake_quantize(x, axis=0)[0], fake_quantize(self.weight, axis=0)[0]

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        x, weight = self.factors(x)
        y: NDArray[Any] = x @ weight.T
        y += self.bias
        return y

    def dense(self) -> "DenseLayer":
        return self

    def retained(self, retain_ratio: float) -> NDArray[np.bool_]:
        """The mask of the largest weights, as many as that share of all; none that was pruned."""
        mask = prune_mask(self.weight, retain_ratio)
        return mask if self.mask is None else mask & self.mask

    def pruned(self, retain_ratio: float) -> "DenseLayer":
        mask = self.retained(retain_ratio)
        return replace(
            self, weight=np.where(mask, self.weight, self.weight.dtype.type(0)), mask=mask
        )


def initial_layers(sizes: Sequence[int], rng: np.random.Generator) -> list[DenseLayer]:
    """Layers between `sizes` units each: He's uniform weights, in float32, and biases of 0."""
    layers = []
    for inputs, outputs in pairwise(sizes):
        bound = np.sqrt(6 / inputs)
        weight = rng.uniform(-bound, bound, (outputs, inputs)).astype(np.float32)
        layers.append(DenseLayer(weight, np.zeros(outputs, np.float32)))
    return layers


def count_parameters(sizes: Sequence[int]) -> int:
    """Weights and biases of layers between `sizes` units each."""
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes))


def narrowed(sizes: Sequence[int], budget: float) -> tuple[int, ...] | None:
    """`sizes` between the ends, scaled down by one factor as little as `budget` parameters need."""
    first, *hidden, last = sizes

    def at(factor: Fraction) -> tuple[int, ...]:
        return tuple(max(1, int(factor * units)) for units in hidden)

    # Where a width changes; fractions, so that each is hit exactly.
    factors = sorted({Fraction(i, units) for units in hidden for i in range(1, units + 1)})
    fitting = bisect_right(factors, budget, key=lambda f: count_parameters([first, *at(f), last]))
    return at(factors[fitting - 1]) if fitting else None


def logits(layers: Sequence[Layer], x: NDArray[Any]) -> NDArray[Any]:
    """What the last layer gives for x, shape (n, inputs); ReLU follows each of the others."""
    result = np.empty((len(x), layers[-1].shape[0]), x.dtype)
    for start in range(0, len(x), _ROWS):
        h = x[start : start + _ROWS]
        for layer in layers[:-1]:
            h = layer(h)
            np.maximum(h, 0, out=h)
        result[start : start + _ROWS] = layers[-1](h)
    return result
