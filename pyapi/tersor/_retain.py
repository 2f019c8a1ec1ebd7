"""What pruning keeps: the arguments that say it, checked, and the arrays they are about."""

import re
from collections.abc import Callable
from functools import partial
from math import floor, isnan
from typing import Any

import numpy as np

from ._arguments import as_index, as_number, check_one_of, is_room, placed
from ._backends import as_array, kernels
from ._dtypes import FLOATS
from ._retain_blocks import Blocks
from ._rows import axis_last, normalize_axis

Pattern = str | tuple[int | None, ...]
NAN_MODES = ("raise", "keep", "prune")
_PART = 1 << 16  # entries written at a time
_PLAIN = {np.dtype(c) for c in "efd?bhilqBHILQ"}


class Retain:
    """How much to keep: exactly one of retain_ratio, k, threshold and an n:m pattern.

    n_of_m : of an n:m pattern
    block : the pattern, if it is a tuple; the others then say how many blocks
    """

    def __init__(
        self,
        retain_ratio: float | None,
        k: int | None,
        threshold: float | None,
        axis: int | None,
        pattern: Pattern | None,
    ) -> None:
        if not (pattern is None or isinstance(pattern, (str, tuple))):
            raise TypeError(f"pattern must be 'n:m' or a tuple of block sizes, got {pattern!r:.60}")
        self.block = pattern if isinstance(pattern, tuple) else None
        given = {"retain_ratio": retain_ratio, "k": k, "threshold": threshold}
        if self.block is None:
            given["pattern"] = pattern  # type: ignore[assignment]
        names = [name for name, value in given.items() if value is not None]
        if len(names) != 1:
            got = ", ".join(names) or "none"
            where = "" if self.block is None else " with a pattern of blocks"
            rule = f"exactly one of {', '.join(given)} must be given{where}"
            raise ValueError(f"{rule}, got {got}")
        if axis is not None and (threshold is not None or self.block is not None):
            raise ValueError(f"axis must be None with threshold or blocks, got {axis}")
        if threshold is not None:
            threshold = as_number(threshold, "threshold")
            if isnan(threshold):
                raise ValueError("threshold must not be NaN")
        self.retain_ratio = None if retain_ratio is None else as_ratio(retain_ratio, "retain_ratio")
        self.k = None if k is None else as_index(k, "k")
        self.threshold, self.axis = threshold, axis
        self.n_of_m: tuple[int, int] | None = None
        if "pattern" in names:
            self.n_of_m = _n_of_m(pattern)
            self.axis = -1 if axis is None else axis

    def rows(self, run: Any, x: Any) -> tuple[Any, Callable[[Any], Any]]:
        """`x` as rows (..., n) of each of which so much is kept, and the way back."""
        if self.axis is None:
            return run.flat(x), lambda rows: rows.reshape(x.shape)
        axis = normalize_axis(self.axis, x.ndim, "w")
        rows, restore = axis_last(x, axis)
        if self.n_of_m is None:
            return rows, restore
        (n, m), shape = self.n_of_m, rows.shape
        if shape[-1] % m:
            raise ValueError(f"axis {axis} must be a multiple of {m} for {n}:{m}, got {shape[-1]}")
        groups = run.flat(rows).reshape(rows.size // m, m)
        return groups, lambda groups: restore(groups.reshape(shape))

    def count(self, n: int) -> int | None:
        """How many of n are kept; None where the threshold decides."""
        if self.n_of_m is not None:
            return self.n_of_m[0]
        if self.retain_ratio is not None:
            return share(self.retain_ratio, n)
        if self.k is not None and not 0 <= self.k <= n:
            raise ValueError(f"k must be in 0..{n}, got {self.k}")
        return self.k


def _n_of_m(pattern: Any) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+):(\d+)", pattern)
    n, m = map(int, match.groups()) if match else (0, 0)
    if not (match and n <= m and m > 0):
        raise ValueError(
            f"pattern must be 'n:m' with n in 0..m, or a tuple of block sizes, got {pattern!r}"
        )
    return n, m


def share(ratio: float, n: int) -> int:
    """How many of n a retain_ratio keeps."""
    return floor(ratio * n + 0.5)


def as_ratio(ratio: Any, name: str) -> float:
    """`ratio` in 0..1."""
    number = as_number(ratio, name)
    if not 0 <= number <= 1:
        raise ValueError(f"{name} must be in 0..1, got {number}")
    return float(number)


def of_all(w: Any, retain_ratio: Any, k: Any, is_mask: bool) -> Any:
    """What is kept of a whole array, or its mask, the shortest way; None unless all is plain."""
    if not (w.flags.c_contiguous and w.dtype in _PLAIN):
        return None
    if k is None and type(retain_ratio) is float and 0 <= retain_ratio <= 1:
        k = share(retain_ratio, w.size)
    elif not (retain_ratio is None and type(k) is int and 0 <= k <= w.size):
        return None
    run, flat = kernels("prune", w), w if w.ndim == 1 else w.reshape(-1)
    if is_mask:
        kept, nans = run.prune_mask(flat, k, None, True, "raise")
    else:
        kept, nans = run.prune(flat, k, None, "raise")
    refuse_nan(nans, w.size, "w", "raise")
    return kept if flat is w else kept.reshape(w.shape)


def names_of(container: Any, name: str) -> list[Any]:
    """The keys of a dict, the indices of a list or tuple."""
    if isinstance(container, dict):
        return list(container)
    if isinstance(container, (list, tuple)):
        return list(range(len(container)))
    raise TypeError(f"{name} must be a list, tuple or dict, got {type(container).__name__}")


def as_numbers(x: Any, name: str) -> Any:
    """An array of a real dtype that kernels take, in native byte order."""
    x = as_array(x, name)
    if x.dtype in _PLAIN:
        return x
    if x.dtype.name not in FLOATS and x.dtype.kind not in "iub":
        raise TypeError(f"{name} must be {', '.join(FLOATS)}, integers or bool, got {x.dtype}")
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def as_scores(run: Any, w: Any, scores: Any, nan: str, place: str = "", of: str = "w") -> Any:
    """The scores of `w`, checked; NaN where `w` is.

    of : the name of `w`
    place : in a container, where both are
    """
    name, of = f"scores{place}", f"{of}{place}"
    scores = as_numbers(scores, name)
    if scores.shape != w.shape:
        raise ValueError(f"{name} must have the shape of {of}, {w.shape}, got {scores.shape}")
    if check_nan(run, w, of, nan):
        if scores.dtype.kind in "iub":
            raise ValueError(f"{name} must be floats where {of} holds NaN, got {scores.dtype}")
        scores = np.where(np.isnan(w), np.array(np.nan, scores.dtype), scores)
    check_nan(run, scores, name, nan)
    return scores


def check_nan(run: Any, x: Any, name: str, nan: str) -> int:
    """How many entries are NaN; ValueError if there are and `nan` is "raise"."""
    check_one_of(nan, NAN_MODES, "nan")
    count = 0 if x.dtype.kind in "iub" else int(run.count_nan(x))
    refuse_nan(count, x.size, name, nan)
    return count


def refuse_nan(count: int, size: int, name: str, nan: str) -> None:
    """ValueError if there are NaN among so many entries and `nan` is "raise"."""
    if count and nan == "raise":
        raise ValueError(
            f"{name} must not hold NaN, got {count} NaN of {size} entries: "
            "prune and prune_mask take them with nan='keep' or nan='prune'"
        )


def by_rows(
    run: Any, kernel: Callable[..., Any], x: Any, name: str, how: Retain, nan: str, out: Any
) -> Any:
    """kernel(rows of x, k, threshold, nan=nan, out=rows of out), in the shape of `x`.

    `out` is written directly where its rows are its memory in order, else through a copy: entries
    that are still to be read must not be overwritten.
    """
    check_one_of(nan, NAN_MODES, "nan")
    rows, restore = how.rows(run, x)
    target = None
    in_order = how.axis is None or how.axis % x.ndim == x.ndim - 1
    if in_order and is_room(out) and (is_same(out, x) or is_room(out, x)):
        target = as_array(out, "out").reshape(rows.shape)
    k = how.count(rows.shape[-1])
    result, nans = kernel(rows, k, how.threshold, nan=nan, out=target)
    refuse_nan(nans, x.size, name, nan)
    if out is None:
        return restore(result)
    if target is None:
        out[...] = restore(result)
    return out


def is_same(out: Any, x: Any) -> bool:
    """Whether contiguous `out` is `x`, entry by entry."""
    same = out.dtype == x.dtype and x.flags.c_contiguous
    return bool(same and out.ctypes.data == x.ctypes.data)


def retained(run: Any, w: Any, how: Retain, scores: Any, nan: str, out: Any) -> Any:
    """The mask of what is kept of `w`."""
    if how.block is not None:
        blocks, kept = retained_blocks(run, w, how, scores, nan)
        room = out if is_room(out, w, scores) else np.empty_like(kept, shape=w.shape)
        return placed(blocks.write(kept, lambda entries, mask: mask, room), out)
    ranked = w if scores is None else as_scores(run, w, scores, nan)
    kernel = partial(run.prune_mask, magnitude=scores is None)
    return by_rows(run, kernel, ranked, "w" if scores is None else "scores", how, nan, out)


def retained_blocks(run: Any, w: Any, how: Retain, scores: Any, nan: str) -> tuple[Blocks, Any]:
    """The blocks of `w`, and the mask of those that are kept."""
    if scores is None:
        check_nan(run, w, "w", nan)
    ranked = w if scores is None else as_scores(run, w, scores, nan)
    blocks = Blocks(how.block or (), w.shape)
    kernel, name = partial(run.prune_mask, magnitude=False), "the sum of the scores of a block"
    sums = blocks.sums(ranked, scores is None)
    return blocks, by_rows(run, kernel, sums, name, how, nan, None)


def selected(run: Any, w: Any, how: Retain, scores: Any, nan: str, out: Any) -> Any:
    """What is kept of `w`, 0 else, where more than its own magnitudes decide."""
    zero = np.zeros((), w.dtype)
    if how.block is not None:
        blocks, kept = retained_blocks(run, w, how, scores, nan)
        # Each part is read before it is written, so `out` may be `w`.
        direct = out is not None and (is_same(out, w) or is_room(out, w))
        result = out if direct else np.empty_like(w, order="C")
        blocks.write(kept, lambda entries, mask: np.where(mask, w[entries], zero), result)
        return placed(result, out)
    in_place = out is not None and is_same(out, w)
    result = out if in_place or is_room(out, w, scores) else np.empty_like(w, order="C")
    if w.size == 0 or not w.flags.c_contiguous:
        return placed(np.where(retained(run, w, how, scores, nan, None), w, zero), out)
    # But in place, the mask lies in the last bytes of the result, and is read before they are
    # written.
    entries, flat, mask = w.reshape(-1), result.reshape(-1), None
    if not in_place:
        mask = flat.view(bool)[-w.size :].reshape(w.shape)
    mask = retained(run, w, how, scores, nan, mask).reshape(-1)
    for start in range(0, w.size, _PART):
        part = slice(start, start + _PART)
        flat[part] = np.where(mask[part], entries[part], zero)
    return placed(result, out)
