"""Pruning by sorting."""

import numpy as np


def flat(x):
    """The entries of `x` in order, as one row: a view or a copy."""
    return x.reshape(1, -1)


def count_nan(x):
    """How many entries are NaN."""
    return int(np.isnan(x).sum())


def prune_mask(x, k, threshold, magnitude, nan, out=None):
    """Which k entries of each row of (..., n), or which from `threshold` on, are kept.

    And how many are NaN; if there are and `nan` is "raise", `out` is not touched.
    """
    return _written(_mask(x, k, threshold, magnitude, nan), x, nan, out)


def prune(x, k, threshold, nan, out=None):
    """The entries that `prune_mask` keeps by magnitude, 0 for the others; and how many are NaN."""
    mask = _mask(x, k, threshold, True, nan)
    return _written(np.where(mask, x, np.zeros((), x.dtype)), x, nan, out)


def _written(result, x, nan, out):
    nans = count_nan(x)
    if out is None:
        return result, nans
    if not (nans and nan == "raise"):
        out[...] = result
    return out, nans


def pack_mask(mask):
    """Entry i of the last axis is bit i % 8 of byte i // 8."""
    n = mask.shape[-1]
    bits = np.zeros((*mask.shape[:-1], -(-n // 8) * 8), np.uint8)
    bits[..., :n] = mask
    weights = 1 << np.arange(8, dtype=np.uint8)
    return (bits.reshape(*mask.shape[:-1], -1, 8) * weights).sum(axis=-1, dtype=np.uint8)


def unpack_mask(packed, n):
    """The n entries of the last axis that `pack_mask` packed."""
    bits = packed[..., None] >> np.arange(8, dtype=np.uint8) & 1
    return bits.reshape(*packed.shape[:-1], -1)[..., :n].astype(bool)


def global_counts(tensors, k, least, magnitude):
    """How many entries each 1-D tensor keeps: at least `least` of its own, and k in all."""
    kept = np.concatenate(
        [
            prune_mask(x[None], n, None, magnitude, "keep")[0][0]
            for x, n in zip(tensors, least, strict=True)
        ]
    )
    score, rest = np.concatenate(tensors), ~kept
    kept[rest] = prune_mask(score[rest][None], k - kept.sum(), None, magnitude, "keep")[0][0]
    ends = np.cumsum([x.size for x in tensors])[:-1]
    return [int(part.sum()) for part in np.split(kept, ends)]


def _mask(x, k, threshold, magnitude, nan):
    if x.dtype.itemsize == 2 and x.dtype.kind not in "iu":
        x = x.astype(np.float32)
    score = _magnitude(x) if magnitude else x
    is_nan = np.isnan(score)
    if threshold is not None:
        return np.where(is_nan, nan == "keep", _at_least(score, threshold))
    known = np.where(is_nan, 0, score)
    nan_ranks_high = is_nan if nan == "keep" else ~is_nan
    # Ascending and stable over the reversed row, so reversed again the first of equals leads.
    order = np.lexsort((known[..., ::-1], nan_ranks_high[..., ::-1]), axis=-1)[..., ::-1]
    mask = np.zeros(x.shape, bool)
    np.put_along_axis(mask, x.shape[-1] - 1 - order[..., :k], True, axis=-1)
    return mask


def _magnitude(x):
    magnitude = np.abs(x)
    return magnitude.view(f"u{x.dtype.itemsize}") if x.dtype.kind == "i" else magnitude


def _at_least(score, threshold):
    """Compared exactly: as Python numbers where float64 does not hold every integer."""
    if score.dtype.kind in "iu" and score.dtype.itemsize == 8:
        return (score.astype(object) >= threshold).astype(bool)
    return score.astype(np.float64) >= threshold
