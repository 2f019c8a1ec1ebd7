"""The layers of a perceptron: y = x @ weight.T + bias, with the weight stored in several ways."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ._quantized import QuantizedArray
from .csr import QuantizedCSR, csr_array, to_csr
from .matmul_int8 import PackedInt8, linear_int8
from .prune import prune_mask
from .quantize import fake_quantize, quantize

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

    def dense(self) -> DenseLayer:
        """The layer that this one stands for, with its weight in floating point."""

    def quantized(self) -> Layer:
        """The layer with an int8 weight, one scale an output."""

    def sparse(self) -> Layer:
        """The layer with a CSR weight."""


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

    def dense(self) -> DenseLayer:
        return self

    def quantized(self) -> Int8Layer:
        return Int8Layer(quantize(self.weight, axis=0), self.bias)

    def sparse(self) -> SparseLayer:
        return SparseLayer(to_csr(self.weight), self.bias)

    def retained(self, retain_ratio: float) -> NDArray[np.bool_]:
        """The mask of the largest weights, as many as that share of all; none that was pruned."""
        mask = prune_mask(self.weight, retain_ratio)
        return mask if self.mask is None else mask & self.mask

    def pruned(self, retain_ratio: float) -> DenseLayer:
        mask = self.retained(retain_ratio)
        return replace(
            self, weight=np.where(mask, self.weight, self.weight.dtype.type(0)), mask=mask
        )


@dataclass(frozen=True, eq=False)
class Int8Layer:
    """A layer of int8 weights, and inputs rounded to int8 row by row: `tersor.linear_int8`.

    Attributes
    ----------
    weight : QuantizedArray, shape (outputs, inputs), axis=0
    bias : float array, shape (outputs,)
    packed : PackedInt8
        The weight in this CPU's order, made at first use: a working copy that is not stored with
        the layer, nor counted in `nbytes`.
    """

    weight: QuantizedArray
    bias: NDArray[Any]

    @cached_property
    def packed(self) -> PackedInt8:
        return PackedInt8(self.weight)

    def __reduce__(self) -> Any:
        return Int8Layer, (self.weight, self.bias)

    @property
    def shape(self) -> tuple[int, int]:
        outputs, inputs = self.weight.shape
        return outputs, inputs

    @property
    def nbytes(self) -> int:
        return self.weight.nbytes + self.bias.nbytes

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        return linear_int8(x, self.packed, self.bias)

    def dense(self) -> DenseLayer:
        return DenseLayer(self.weight.dequantize(), self.bias)

    def quantized(self) -> Int8Layer:
        return self

    def sparse(self) -> SparseLayer:
        # The same integers: each row's largest is 127 again.
        return SparseLayer(QuantizedCSR.from_dense(self.weight.dequantize()), self.bias)


@dataclass(frozen=True, eq=False)
class SparseLayer:
    """A layer that stores only what was not pruned.

    Attributes
    ----------
    weight : csr_array or QuantizedCSR, shape (outputs, inputs)
    bias : float array, shape (outputs,)
    """

    weight: csr_array | QuantizedCSR
    bias: NDArray[Any]

    @property
    def shape(self) -> tuple[int, int]:
        outputs, inputs = self.weight.shape
        return outputs, inputs

    @property
    def nbytes(self) -> int:
        w = self.weight
        if isinstance(w, QuantizedCSR):
            return w.nbytes + self.bias.nbytes
        return int(w.data.nbytes + w.indices.nbytes + w.indptr.nbytes) + self.bias.nbytes

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        # The product from the left reads x row by row of x.T: (outputs, n), seen as (n, outputs).
        y: NDArray[Any] = (self.weight @ x.T).T
        y += self.bias
        return y

    def dense(self) -> DenseLayer:
        return DenseLayer(self.weight.toarray(), self.bias)

    def quantized(self) -> SparseLayer:
        if isinstance(self.weight, QuantizedCSR):
            return self
        return SparseLayer(QuantizedCSR.from_csr(self.weight), self.bias)

    def sparse(self) -> SparseLayer:
        return self


def all_dense(layers: Sequence[Layer], what: str) -> list[DenseLayer]:
    """The layers if all are dense; ValueError saying that only such can be `what` otherwise."""
    dense = []
    for layer in layers:
        if not isinstance(layer, DenseLayer):
            raise ValueError(f"only dense layers can be {what}, got a {type(layer).__name__}")
        dense.append(layer)
    return dense


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
