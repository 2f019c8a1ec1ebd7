"""A multilayer perceptron that is trained, and then made small, on the kernels of this library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arguments import as_number
from ._mlp_estimator import (
    Estimator,
    as_count,
    as_generator,
    as_inputs,
    as_labels,
    as_size,
    as_units,
    class_numbers,
    not_fitted,
)
from ._mlp_layers import DenseLayer as DenseLayer
from ._mlp_layers import Int8Layer as Int8Layer
from ._mlp_layers import Layer, all_dense, count_parameters, initial_layers, logits, narrowed
from ._mlp_layers import SparseLayer as SparseLayer
from ._mlp_train import Loss, Settings, train
from .distill import distillation_loss, softmax

__all__ = ["DenseLayer", "Int8Layer", "MLPClassifier", "SparseLayer"]


class MLPClassifier(Estimator):
    """A perceptron with ReLU, and the ways to make it small.

    `fit` trains it and `predict` uses it, as in scikit-learn, whose pipelines and searches take it.
    The methods that compress or train further (`prune`, `finetune`, `quantization_aware`,
    `quantize`, `to_csr`, `distil`) return a new model each and leave this one as it is, so that
    they chain::

        teacher = MLPClassifier(random_state=0).fit(X, y)
        sparse = teacher.prune(0.2).finetune(X, y)
        small = sparse.quantization_aware().finetune(X, y, epochs=10).to_csr().quantize()
        student = teacher.student(compression_ratio=10).distil(teacher, X)

    Parameters
    ----------
    hidden : int or sequence of int
        Units of the hidden layer, or of each; empty for a linear model.
    epochs : int
        Passes over the data.
    batch_size : int
        Rows a step.
    learning_rate : float
        Adam's first step size; it falls to 0 along half a cosine.
    weight_decay : float
        Decoupled (AdamW): a step multiplies weights, not biases, by
        1 - rate * weight_decay.
    random_state : int, Generator, RandomState or None
        Where weights and the order of the rows come from. With an int, the same data give the same
        bits, whatever `tersor.set_num_threads` says.

    Attributes
    ----------
    classes_ : array
        The labels, sorted.
    n_features_in_ : int
    layers_ : list of layers
        From the inputs to the logits. Layers are never modified.
    loss_curve_ : list of float
        Mean loss in each epoch of the last training.

    Notes
    -----
    Inputs are taken as float32 and not scaled: bring them near -1..1. Dense products are those of
    NumPy's BLAS, whose threads `tersor.set_num_threads` does not reach; layers of a few hundred
    units train faster with one (threadpoolctl), above all where others use the cores.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((200, 2))
    >>> y = np.where(X[:, 0] * X[:, 1] > 0, "same sign", "not")
    >>> model = tersor.mlp.MLPClassifier((32,), random_state=0).fit(X, y)
    >>> model.predict([[1.0, 1.0], [-1.0, 1.0]]).tolist()
    ['same sign', 'not']
    >>> model.quantize().nbytes < model.nbytes
    True
    """

    layers_: list[Layer]
    loss_curve_: list[float]

    def __init__(
        self,
        hidden: int | Sequence[int] = (256, 128),
        *,
        epochs: int = 30,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.1,
        random_state: Any = None,
    ) -> None:
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train from fresh weights, by cross-entropy; what was learned before is forgotten.

        Parameters
        ----------
        X : array, shape (n, features), real and finite in float32, n >= 1
        y : array of labels, shape (n,)
            Of any type that sorts; floats must be whole numbers.

        Returns
        -------
        self : the only method that changes the model is this one

        Raises
        ------
        TypeError
            `X` is sparse or not numeric; a parameter of the model has another type than said.
        ValueError
            A shape, an entry or a parameter of the model is not as said.
        """
        x = as_inputs(X)
        classes, targets = np.unique(as_labels(y, len(x)), return_inverse=True)
        rng = as_generator(self.random_state)
        layers = self._fresh(x, classes, rng)
        trained = self._trained(layers, x, _cross_entropy(targets), rng)
        vars(self).update(trained, classes_=classes, n_features_in_=x.shape[1])
        return self

    def logits(self, X: ArrayLike) -> NDArray[np.float32]:
        """What the last layer gives, before softmax: shape (n, classes)."""
        x = as_inputs(X, self._fitted().n_features_in_, self)
        return logits(self.layers_, x)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The label of the largest logit of each row of X, of equals the first."""
        largest = self.logits(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[largest]
        return labels

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Share of rows of X whose predicted class is that in y, weighted if weights are given."""
        weights: Any = sample_weight
        return float(np.average(self.predict(X) == np.asarray(y), weights=weights))

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Probabilities of the classes, in the order of `classes_`: shape (n, classes)."""
        return softmax(self.logits(X), axis=1)

    @property
    def n_parameters(self) -> int:
        """Weights and biases, pruned ones included."""
        return sum(prod(layer.shape) + layer.shape[0] for layer in self._fitted().layers_)

    @property
    def nbytes(self) -> int:
        """Bytes that prediction reads: weights, scales, indices and biases, as they are stored."""
        return sum(layer.nbytes for layer in self._fitted().layers_)

    def prune(self, retain_ratio: float) -> Self:
        """A model with the largest weights of each layer, the others 0, as `tersor.prune`.

        Parameters
        ----------
        retain_ratio : float in 0..1
            Share of each layer's weights to keep; biases stay. What an earlier call pruned stays
            pruned.

        Returns
        -------
        model, with a mask in each layer that further training holds

        Raises
        ------
        ValueError
            A layer is not dense; `retain_ratio` is out of range.
        """
        layers = all_dense(self._fitted().layers_, "pruned")
        return self._with(layers_=[layer.pruned(retain_ratio) for layer in layers])

    def finetune(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        epochs: int | None = None,
        learning_rate: float | None = None,
        retain_schedule: Callable[[int], float] | None = None,
    ) -> Self:
        """A model trained further, from the weights of this one.

        Parameters
        ----------
        X, y : as in `fit`; all labels in y must be among `classes_`
        epochs, learning_rate : optional
            In place of the model's own.
        retain_schedule : callable, optional
            Prune gradually: gives, for the number of an epoch, the share of each layer's weights
            that is kept from its start on, such as
            `functools.partial(tersor.retain_schedule, begin=0, end=20, final=0.2)`.

        Returns
        -------
        model, with the masks and the fake quantization of this one
            Pruned weights are 0 after every step.

        Raises
        ------
        TypeError
            `X` is sparse or not numeric; another argument has another type than said.
        ValueError
            A layer is not dense; an argument is not as said.
        """
        x = as_inputs(X, self._fitted().n_features_in_, self)
        loss = _cross_entropy(class_numbers(y, len(x), self.classes_))
        rng, options = as_generator(self.random_state), (epochs, learning_rate, retain_schedule)
        return self._with(**self._trained(self.layers_, x, loss, rng, *options))

    def quantization_aware(self) -> Self:
        """A model that computes with weights and inputs of each layer rounded to int8.

        Its predictions are, to rounding, those of `quantize()`, and `finetune` and `distil` train
        it so that it is good at them: gradients pass through the rounding (straight-through
        estimator) to weights that stay float32.

        Raises
        ------
        ValueError
            A layer is not dense.
        """
        layers = all_dense(self._fitted().layers_, "fake-quantized")
        return self._with(layers_=[replace(layer, fake_quantized=True) for layer in layers])

    def quantize(self) -> Self:
        """A model with int8 weights, one scale a unit, as `tersor.quantize(weight, axis=0)`.

        Dense layers then round the rows of their inputs to int8 too, and multiply in integers
        (`tersor.linear_int8`); CSR layers become `tersor.QuantizedCSR`, with inputs as they are.
        Biases stay floats.
        """
        return self._with(layers_=[layer.quantized() for layer in self._fitted().layers_])

    def to_csr(self) -> Self:
        """A model that stores only weights that are not 0: `tersor.csr_array`.

        Of int8 layers, `tersor.QuantizedCSR`: `quantize` may come before or after.
        """
        return self._with(layers_=[layer.sparse() for layer in self._fitted().layers_])

    def student(self, compression_ratio: float) -> Self:
        """A smaller model, not fitted: all hidden layers narrower in the same proportion.

        Parameters
        ----------
        compression_ratio : float, at least 1
            The student is the widest that has at most `n_parameters / compression_ratio`.

        Returns
        -------
        model with the parameters of this one but for `hidden`

        Raises
        ------
        ValueError
            Not even hidden layers of one unit are so small.
        """
        if not as_number(compression_ratio, "compression_ratio") >= 1:
            raise ValueError(f"compression_ratio must be at least 1, got {compression_ratio}")
        sizes = [self._fitted().n_features_in_, *(layer.shape[0] for layer in self.layers_)]
        hidden = narrowed(sizes, self.n_parameters / compression_ratio)
        if hidden is None:
            smallest = count_parameters([sizes[0], *[1] * len(sizes[1:-1]), sizes[-1]])
            raise ValueError(
                f"compression_ratio must be at most {self.n_parameters / smallest:.6g} for this "
                f"model, got {compression_ratio}"
            )
        return type(self)(**{**self.get_params(), "hidden": hidden})

    def distil(
        self,
        teacher: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        temperature: float = 2.0,
        alpha: float | None = None,
        kind: str = "forward_kl",
        epochs: int | None = None,
        learning_rate: float | None = None,
        retain_schedule: Callable[[int], float] | None = None,
    ) -> Self:
        """A model that learned to answer as `teacher` does; no label is needed.

        Parameters
        ----------
        teacher : fitted classifier
            With `logits` or scikit-learn's `predict_log_proba`, and `classes_`.
        X : as in `fit`
            What the teacher is asked.
        y : array of labels, optional
            With `alpha`: learn from labels too.
        temperature, alpha, kind
            Those of `tersor.distillation_loss`.
        epochs, learning_rate, retain_schedule
            As in `finetune`.

        Returns
        -------
        model
            Trained from fresh weights if this one is not fitted, else from its own.

        Raises
        ------
        TypeError
            `X` is sparse or not numeric; another argument has another type than said.
        ValueError
            A layer is not dense; this model has other classes than the teacher; `y` without
            `alpha` or the reverse; an argument is not as said.
        """
        x = as_inputs(X, getattr(self, "n_features_in_", None), self)
        if (y is None) != (alpha is None):
            raise ValueError("y and alpha go together: alpha is the weight of the labels' loss")
        if not hasattr(teacher, "logits") and not hasattr(teacher, "predict_log_proba"):
            got = type(teacher).__name__
            raise TypeError(f"teacher must have logits or predict_log_proba, got {got}")
        temperature = as_number(temperature, "temperature")
        alpha = None if alpha is None else as_number(alpha, "alpha")
        taught = teacher.logits(X) if hasattr(teacher, "logits") else teacher.predict_log_proba(X)
        taught = np.asarray(taught, np.float32)
        classes = np.asarray(teacher.classes_)
        rng = as_generator(self.random_state)
        if not hasattr(self, "layers_"):
            layers: Sequence[Layer] = self._fresh(x, classes, rng)
        elif np.array_equal(self.classes_, classes):
            layers = self.layers_
        else:
            raise ValueError(f"teacher must have the classes {self.classes_}, got {classes}")
        targets = None if y is None else class_numbers(y, len(x), classes)

        def loss(z: NDArray[Any], rows: NDArray[np.intp]) -> tuple[float, NDArray[Any]]:
            labels = None if targets is None else targets[rows]
            return distillation_loss(
                z, taught[rows], labels, temperature=temperature, alpha=alpha, kind=kind
            )

        trained = self._trained(layers, x, loss, rng, epochs, learning_rate, retain_schedule)
        return self._with(**trained, classes_=classes, n_features_in_=x.shape[1])

    def _fresh(
        self, x: NDArray[np.float32], classes: NDArray[Any], rng: np.random.Generator
    ) -> list[DenseLayer]:
        return initial_layers([x.shape[1], *as_units(self.hidden), len(classes)], rng)

    def _trained(
        self,
        layers: Sequence[Layer],
        x: NDArray[np.float32],
        loss: Loss,
        rng: np.random.Generator,
        epochs: int | None = None,
        learning_rate: float | None = None,
        retain_schedule: Callable[[int], float] | None = None,
    ) -> dict[str, Any]:
        """The attributes that training sets."""
        rate = self.learning_rate if learning_rate is None else learning_rate
        settings = Settings(
            as_count(self.epochs if epochs is None else epochs, "epochs"),
            as_count(self.batch_size, "batch_size"),
            as_size(rate, "learning_rate"),
            as_size(self.weight_decay, "weight_decay"),
        )
        if retain_schedule is not None and not callable(retain_schedule):
            raise TypeError(f"retain_schedule must be callable, got {retain_schedule!r}")
        dense = all_dense(layers, "trained")
        trained, curve = train(dense, x, loss, settings, rng, retain_schedule)
        return {"layers_": trained, "loss_curve_": curve}

    def _fitted(self) -> Self:
        if not hasattr(self, "layers_"):
            raise not_fitted(self)
        return self

    def _with(self, **fitted: Any) -> Self:
        """A copy with other fitted attributes."""
        model = type(self)(**self.get_params())
        vars(model).update(vars(self), **fitted)
        return model


def _cross_entropy(targets: NDArray[np.intp]) -> Loss:
    return lambda z, rows: distillation_loss(z, z, targets[rows], alpha=1.0)
