"""scikit-learn's estimator conventions, without importing it: parameters, tags, input checks."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from inspect import signature
from math import isfinite
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ._arguments import as_index, as_number


class Estimator:
    """What scikit-learn asks of a classifier beside fitting, predicting and scoring."""

    classes_: NDArray[Any]
    n_features_in_: int

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's parameters. `deep` changes nothing: none is an estimator."""
        return {name: getattr(self, name) for name in signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Self:
        """Set constructor parameters; they count from the next `fit` on."""
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"params must be among {', '.join(known)}, got {name!r}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        parameters = signature(type(self)).parameters.values()
        texts = [(p.name, repr(getattr(self, p.name)), repr(p.default)) for p in parameters]
        changed = [f"{name}={text}" for name, text, default in texts if text != default]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "layers_")

    def __sklearn_tags__(self) -> Any:
        # Only scikit-learn calls this, so it is there.
        from sklearn.utils import ClassifierTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
        )


def not_fitted(model: object) -> Exception:
    """scikit-learn's NotFittedError where it is loaded, else a ValueError."""
    exceptions = sys.modules.get("sklearn.exceptions")
    kind = ValueError if exceptions is None else exceptions.NotFittedError
    return kind(f"this {type(model).__name__} is not fitted yet: call fit or distil first")


def as_inputs(X: Any, features: int | None = None, model: object = None) -> NDArray[np.float32]:
    """X as a finite float32 array, shape (n, features), n >= 1; `X` itself where it is one.

    The wording of the messages is what scikit-learn's checks of estimators look for.
    """
    if hasattr(X, "tocsr"):
        raise TypeError(f"X must be dense, got a sparse {type(X).__name__}")
    if isinstance(X, np.ma.MaskedArray):
        raise TypeError("X must be a plain array, got one with a mask, which would be lost")
    x = np.asarray(X)
    if x.dtype.kind == "c":
        raise ValueError("Complex data not supported: X must be real")
    if x.ndim != 2:
        raise ValueError(
            f"X must have shape (samples, features), got {x.ndim}-D. Reshape your data: one "
            "feature is X.reshape(-1, 1), one sample X.reshape(1, -1)"
        )
    for i, unit in enumerate(("sample", "feature")):
        if x.shape[i] == 0:
            raise ValueError(f"0 {unit}(s) (shape={x.shape}) while a minimum of 1 is required.")
    if features is not None and x.shape[1] != features:
        raise ValueError(
            f"X has {x.shape[1]} features, but {type(model).__name__} is expecting {features} "
            "features as input"
        )
    with np.errstate(over="ignore"):
        x = x.astype(np.float32, copy=False)
    if not np.isfinite(x).all():
        raise ValueError("X must be finite in float32, got NaN or inf")
    return x


def as_labels(y: Any, samples: int) -> NDArray[Any]:
    """y as an array of class labels, shape (samples,)."""
    if y is None:
        raise ValueError("fit requires y to be passed, but the target y is None")
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        exceptions = sys.modules.get("sklearn.exceptions")
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected",
            UserWarning if exceptions is None else exceptions.DataConversionWarning,
            stacklevel=3,
        )
        labels = labels[:, 0]
    if labels.shape != (samples,):
        raise ValueError(f"y must have shape ({samples},), a label a row of X, got {labels.shape}")
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            raise ValueError("y must not hold NaN or inf")
        if (labels != np.rint(labels)).any():
            raise ValueError("Unknown label type: y must hold classes, got fractions")
    return labels


def class_numbers(y: Any, samples: int, classes: NDArray[Any]) -> NDArray[np.intp]:
    """The numbers in `classes` of the labels y."""
    labels = as_labels(y, samples)
    numbers = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    unknown = classes[numbers] != labels
    if unknown.any():
        raise ValueError(f"y must be among classes_, got {labels[unknown][0]!r}")
    return numbers


def as_count(n: Any, name: str) -> int:
    """n as an int of at least 1."""
    count = as_index(n, name)
    if count < 1:
        raise ValueError(f"{name} must be at least 1, got {n}")
    return count


def as_units(hidden: Any) -> list[int]:
    """Units of each hidden layer, of which one may be given as an int."""
    given = hidden.tolist() if isinstance(hidden, np.ndarray) else hidden
    several = isinstance(given, Sequence) and not isinstance(given, (str, bytes))
    try:
        return [as_count(units, "hidden") for units in (given if several else [given])]
    except TypeError:
        raise TypeError(f"hidden must be an int or a sequence of ints, got {hidden!r}") from None


def as_size(value: Any, name: str) -> float:
    """value as a float, finite and not negative."""
    size = float(as_number(value, name))
    if not (isfinite(size) and size >= 0):
        raise ValueError(f"{name} must be finite and not negative, got {value}")
    return size


def as_generator(state: Any) -> np.random.Generator:
    """The generator that random_state, an int, a generator of either kind or None, stands for."""
    if isinstance(state, np.random.RandomState):
        state = state.randint(2**31 - 1)
    if not (state is None or isinstance(state, np.random.Generator)):
        rule = "an int of at least 0, a Generator, a RandomState or None"
        if isinstance(state, bool) or not isinstance(state, Integral):
            raise TypeError(f"random_state must be {rule}, got {state!r}")
        if state < 0:
            raise ValueError(f"random_state must be {rule}, got {state}")
    return np.random.default_rng(state)
