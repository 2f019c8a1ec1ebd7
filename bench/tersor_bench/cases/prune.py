"""Cases of pruning: small and large, whole arrays and rows, masks and values, five dtypes."""

from math import prod

import numpy as np

import tersor

from ..case import Case, optional

_SMALL = ((10,), (100,), (1_000,), (10_000,))
_DTYPES = ("float64", "int8", "int32", "float16")
_LAYER, _SQUARE = (3072, 3072), (4096, 4096)
_LARGE = ((10**7,), (10**8,))


def _weights(shape, dtype, rng):
    if dtype.kind == "i":
        return rng.integers(-100, 100, shape, dtype)
    return rng.standard_normal(shape, np.float32).astype(dtype)


def _kept(x, axis):
    """How many are kept: half."""
    return (x.size if axis is None else x.shape[axis]) // 2


def _half(what, axis, shape, dtype="float32"):
    """Half of the entries, by magnitude."""
    function = getattr(tersor, what)

    def by_numpy(w):
        def call():
            magnitude, k = np.abs(w), _kept(w, axis)
            if axis is None:
                mask = magnitude >= np.partition(magnitude.ravel(), w.size - k)[w.size - k]
            else:
                n = w.shape[axis]
                bound = np.partition(magnitude, n - k, axis=axis).take([n - k], axis=axis)
                mask = magnitude >= bound
            return mask if what == "prune_mask" else np.where(mask, w, w.dtype.type(0))

        return call

    def by_torch(w):
        torch = optional("torch")
        if torch is None:
            return None
        tensor, dim = torch.from_numpy(w), 0 if axis is None else axis

        def call():
            magnitude = tensor.abs()
            flat = magnitude.view(-1) if axis is None else magnitude
            kept = torch.topk(flat, _kept(w, axis), dim, sorted=False).indices
            mask = torch.zeros_like(flat, dtype=torch.bool).scatter_(dim, kept, True)
            mask = mask.view(tensor.shape)
            return mask if what == "prune_mask" else torch.where(mask, tensor, 0)

        return call

    def by_torch_prune(w):
        prune = optional("torch.nn.utils.prune")
        if prune is None or what == "prune_mask" or axis is not None:
            return None
        tensor, method = (
            optional("torch").from_numpy(w),
            prune.L1Unstructured(w.size - _kept(w, None)),
        )
        return lambda: method.prune(tensor)

    def check(w, result):
        result = np.asarray(result).reshape(w.shape)
        mask = result if what == "prune_mask" else result != 0
        magnitude = np.abs(w.astype(np.float64))
        assert (mask.sum(axis=axis) >= _kept(w, axis) - (w == 0).sum(axis=axis)).all()
        least = np.where(mask, magnitude, np.inf).min(axis=axis)
        assert (least >= np.where(mask, 0, magnitude).max(axis=axis)).all()

    return Case(
        op=f"prune.{what}({'' if axis is None else axis})",
        shape=shape,
        toy=tuple(min(n, 30) for n in shape),
        dtype=dtype,
        inputs=_weights,
        contenders={
            "tersor": lambda w: lambda: function(w, k=_kept(w, axis), axis=axis),
            "numpy": by_numpy,
            "torch": by_torch,
            "torch.nn.utils.prune": by_torch_prune,
        },
        bytes=lambda shape, itemsize: (
            prod(shape) * (itemsize + (1 if what == "prune_mask" else itemsize))
        ),
        check=check,
    )


def _groups_by_numpy(w):
    def mask():
        groups = np.abs(w).reshape(-1, 4)
        kept = np.argpartition(groups, 2, axis=1)[:, 2:]
        result = np.zeros(groups.shape, bool)
        np.put_along_axis(result, kept, True, axis=1)
        return result

    return mask


def _groups_by_torch(w):
    torch = optional("torch")
    if torch is None:
        return None
    tensor = torch.from_numpy(w)

    def mask():
        groups = tensor.abs().view(-1, 4)
        kept = torch.topk(groups, 2, dim=1, sorted=False).indices
        return torch.zeros_like(groups, dtype=torch.bool).scatter_(1, kept, True)

    return mask


def _check_groups(w, mask):
    mask, groups = np.asarray(mask).reshape(-1, 4), np.abs(w).reshape(-1, 4)
    assert (mask.sum(axis=1) == 2).all()
    least_kept = np.where(mask, groups, np.inf).min(axis=1)
    assert (least_kept >= np.where(mask, 0, groups).max(axis=1)).all()


def _two_of_four(shape):
    return Case(
        op="prune.2:4",
        shape=shape,
        toy=(6, 8),
        dtype="float32",
        inputs=_weights,
        contenders={
            "tersor": lambda w: lambda: tersor.prune_mask(w, pattern="2:4"),
            "numpy": _groups_by_numpy,
            "torch": _groups_by_torch,
        },
        bytes=lambda shape, itemsize: (itemsize + 1) * shape[0] * shape[1],
        check=_check_groups,
    )


CASES = (
    *(_half(what, None, shape) for what in ("prune_mask", "prune") for shape in (*_SMALL, _LAYER)),
    *(_half("prune", None, shape) for shape in _LARGE),
    *(_half("prune_mask", None, _LAYER, dtype) for dtype in _DTYPES),
    *(_half("prune_mask", axis, _SQUARE) for axis in (0, 1)),
    *(_half("prune_mask", axis, (1_250_000, 8)) for axis in (0, 1)),
    *(_two_of_four(shape) for shape in (_LAYER, _SQUARE)),
)
