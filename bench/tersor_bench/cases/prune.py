"""Cases of pruning."""

import numpy as np

import tersor

from ..case import Case, optional


def _weights(shape, dtype, rng):
    return rng.standard_normal(shape).astype(dtype)


def _half_by_numpy(w):
    def mask():
        magnitude = np.abs(w).ravel()
        k = magnitude.size // 2
        return np.abs(w) > np.partition(magnitude, k - 1)[k - 1]

    return mask


def _half_by_torch(w):
    torch = optional("torch")
    if torch is None:
        return None
    tensor = torch.from_numpy(w)

    def mask():
        magnitude = tensor.abs().view(-1)
        kept = torch.topk(magnitude, magnitude.numel() // 2, sorted=False).indices
        return torch.zeros_like(magnitude, dtype=torch.bool).scatter_(0, kept, True)

    return mask


def _check_half(w, mask):
    mask = np.asarray(mask).reshape(w.shape)
    assert mask.sum() == w.size // 2
    assert np.abs(w[mask]).min() > np.abs(w[~mask]).max()


def _two_of_four_by_numpy(w):
    def mask():
        groups = np.abs(w).reshape(-1, 4)
        kept = np.argpartition(groups, 2, axis=1)[:, 2:]
        result = np.zeros(groups.shape, bool)
        np.put_along_axis(result, kept, True, axis=1)
        return result

    return mask


def _two_of_four_by_torch(w):
    torch = optional("torch")
    if torch is None:
        return None
    tensor = torch.from_numpy(w)

    def mask():
        groups = tensor.abs().view(-1, 4)
        kept = torch.topk(groups, 2, dim=1, sorted=False).indices
        return torch.zeros_like(groups, dtype=torch.bool).scatter_(1, kept, True)

    return mask


def _check_two_of_four(w, mask):
    mask, groups = np.asarray(mask).reshape(-1, 4), np.abs(w).reshape(-1, 4)
    assert (mask.sum(axis=1) == 2).all()
    least_kept = np.where(mask, groups, np.inf).min(axis=1)
    assert (least_kept >= np.where(mask, 0, groups).max(axis=1)).all()


CASES = (
    Case(
        op="prune.prune_mask",
        shape=(3072, 3072),
        toy=(6, 10),
        dtype="float32",
        inputs=_weights,
        contenders={
            "tersor": lambda w: lambda: tersor.prune_mask(w, 0.5),
            "numpy": _half_by_numpy,
            "torch": _half_by_torch,
        },
        bytes=lambda shape, itemsize: (itemsize + 1) * shape[0] * shape[1],
        check=_check_half,
    ),
    Case(
        op="prune.2:4",
        shape=(3072, 3072),
        toy=(6, 8),
        dtype="float32",
        inputs=_weights,
        contenders={
            "tersor": lambda w: lambda: tersor.prune_mask(w, pattern="2:4"),
            "numpy": _two_of_four_by_numpy,
            "torch": _two_of_four_by_torch,
        },
        bytes=lambda shape, itemsize: (itemsize + 1) * shape[0] * shape[1],
        check=_check_two_of_four,
    ),
)
