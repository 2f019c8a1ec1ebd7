"""Pruning: keep the entries that matter most, write 0 for the others."""

from __future__ import annotations

from math import floor, isfinite
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arguments import as_index, as_number, check_one_of, check_out
from ._backends import array_function, as_array, kernels
from ._compact import compact as compact
from ._retain import (
    Pattern,
    Retain,
    as_numbers,
    as_ratio,
    as_scores,
    by_rows,
    check_nan,
    names_of,
    of_all,
    retained,
    selected,
    share,
)

Tensors = TypeVar("Tensors", list[Any], tuple[Any, ...], dict[Any, Any])


@array_function
def prune(
    w: ArrayLike,
    retain_ratio: float | None = None,
    *,
    k: int | None = None,
    threshold: float | None = None,
    axis: int | None = None,
    pattern: Pattern | None = None,
    scores: ArrayLike | None = None,
    nan: Literal["raise", "keep", "prune"] = "raise",
    out: NDArray[Any] | None = None,
    backend: str | None = None,
) -> NDArray[Any]:
    """Keep the entries with the largest scores, write 0 for the others.

    A score is the magnitude of the entry, unless `scores` are given. How many are kept is said by
    exactly one of `retain_ratio`, `k`, `threshold` and an "n:m" `pattern`. The count is exact: of
    equal scores the lowest indices (in C order) are kept, whatever the backend, the memory layout
    and the number of threads. Zeros have the lowest magnitude, so they are the first to go.

    Parameters
    ----------
    w : array, any shape, float16, bfloat16, float32, float64, integers or bool
    retain_ratio : float in 0..1, optional
        Share of the n entries to keep: k = floor(retain_ratio * n + 0.5).
    k : int in 0..n, optional
        How many to keep.
    threshold : float, optional
        Keep what has a score of at least this, compared exactly.
    axis : int, optional
        Keep so many of each slice along this axis; of the whole array if None.
    pattern : str "n:m", optional
        Keep n of each m neighbours along `axis`, by default the last; its size must be a multiple
        of m.
    pattern : tuple, an entry for each axis of `w`, optional
        Keep or prune whole blocks of this shape, where None is the whole axis: (4, 1) are blocks of
        four rows and one column, (1, None, None, None) the output channels of a convolution. The
        score of a block is the sum of the scores of its entries, in float64, and n and k count
        blocks. Sizes must be multiples of the block's.
    scores : array of the shape of `w`, optional
        The larger, the more an entry matters; negative ones rank below 0.
    nan : "raise", "keep" or "prune"
        What to do with entries whose weight or score is NaN: refuse, or rank them above or below
        all others. They are kept or pruned as NaN and never change how many are kept.
    out : array of the shape and dtype of `w`, optional
        Where to write the result; `w` itself to prune in place.
    backend : str, optional
        Run on this backend instead of the one that owns `w`.

    Returns
    -------
    array of the shape and dtype of `w`; `out` if given
        Entries are selected, not multiplied by a mask: a pruned inf is 0, a kept -0.0 is -0.0.

    Raises
    ------
    TypeError
        A dtype is complex or not numeric, or that of `out` is not that of `w`; an option is of
        another type than above (a bool is no number).
    ValueError
        None or several of the four are given, or out of range; a shape does not fit; there are
        NaN and `nan` is "raise".

    See Also
    --------
    prune_mask, prune_global, retain_schedule, compact

    Examples
    --------
    >>> tersor.prune(np.array([3.0, -1.0, 0.5, -2.0]), 0.5)
    array([ 3.,  0.,  0., -2.])
    >>> tersor.prune(np.array([1, -4, 2, 2, 0, 5, 6, 7]), pattern="2:4")
    array([ 0, -4,  2,  0,  0,  0,  6,  7])

    Wanda's scores, |w| times the norm of the input that the weight meets, each output by itself:

    >>> w, x = np.array([[1.0, -2.0], [3.0, 0.5]]), np.array([[0.1, 4.0], [0.2, -4.0]])
    >>> tersor.prune(w, 0.5, axis=1, scores=np.abs(w) * tersor.norm(x, axis=0))
    array([[ 0. , -2. ],
           [ 0. ,  0.5]])

    Notes
    -----
    Magnitude pruning: Han et al., 2015, https://arxiv.org/abs/1506.02626; n:m: Mishra et al., 2021,
    https://arxiv.org/abs/2104.08378; Wanda: Sun et al., 2024, https://arxiv.org/abs/2306.11695.
    """
    is_plain = type(w) is np.ndarray and threshold is None and pattern is None and scores is None
    if is_plain and axis is None and out is None and backend is None and nan == "raise":
        kept = of_all(w, retain_ratio, k, False)
        if kept is not None:
            return kept  # type: ignore[no-any-return]
    x = as_numbers(w, "w")
    check_out(out, x.shape, x.dtype)
    how = Retain(retain_ratio, k, threshold, axis, pattern)
    run = kernels("prune", x, backend)
    result: NDArray[Any]
    if scores is None and how.block is None:
        result = by_rows(run, run.prune, x, "w", how, nan, out)
        return result
    result = selected(run, x, how, scores, nan, out)
    return result


@array_function
def prune_mask(
    w: ArrayLike,
    retain_ratio: float | None = None,
    *,
    k: int | None = None,
    threshold: float | None = None,
    axis: int | None = None,
    pattern: Pattern | None = None,
    scores: ArrayLike | None = None,
    nan: Literal["raise", "keep", "prune"] = "raise",
    out: NDArray[Any] | None = None,
    backend: str | None = None,
) -> NDArray[Any]:
    """Which entries `prune` keeps.

    Parameters and errors are those of `prune`, except that `out` is a bool array.

    Returns
    -------
    bool array of the shape of `w`; `out` if given

    Examples
    --------
    >>> tersor.prune_mask(np.array([3.0, -1.0, 0.5, -2.0]), k=3)
    array([ True,  True, False,  True])
    """
    is_plain = type(w) is np.ndarray and threshold is None and pattern is None and scores is None
    if is_plain and axis is None and out is None and backend is None and nan == "raise":
        kept = of_all(w, retain_ratio, k, True)
        if kept is not None:
            return kept  # type: ignore[no-any-return]
    x = as_numbers(w, "w")
    check_out(out, x.shape, np.dtype(bool))
    how = Retain(retain_ratio, k, threshold, axis, pattern)
    mask: NDArray[Any] = retained(kernels("prune", x, backend), x, how, scores, nan, out)
    return mask


@array_function
def prune_global(
    tensors: Tensors,
    retain_ratio: float,
    *,
    scores: Any = None,
    min_retain: float = 0.0,
    backend: str | None = None,
) -> Tensors:
    """Prune several tensors together: keep the entries with the largest scores of all.

    The tensors are ranked as if they were one, but never concatenated.

    Parameters
    ----------
    tensors : list, tuple or dict of arrays, dtypes as in `prune`
        Of different dtypes, scores are compared in the dtype that NumPy finds for them together.
    retain_ratio : float in 0..1
        Share of the n entries of all tensors to keep: k = floor(retain_ratio * n + 0.5), exactly.
        Of equal scores those of the first tensors, and there the lowest indices, are kept.
    scores : list, tuple or dict, like `tensors`, optional
        The magnitudes if None.
    min_retain : float in 0..retain_ratio
        Keep at least floor(min_retain * size) entries of each tensor, its largest: it can not
        become empty. The rest of k goes to the largest of what is left.
    backend : str, optional
        Run on this backend instead of the one that owns the tensors.

    Returns
    -------
    list, tuple or dict of arrays, like `tensors`
        New arrays; the given ones are not modified.

    Raises
    ------
    TypeError
        A dtype is complex or not numeric, or `tensors` is no list, tuple or dict.
    ValueError
        A ratio is out of range; `scores` do not match; there are NaN.

    Examples
    --------
    >>> tersor.prune_global([np.array([5.0, 1.0]), np.array([2.0, -4.0])], 0.5)
    [array([5., 0.]), array([ 0., -4.])]
    >>> tersor.prune_global({"a": np.array([5.0, 6.0]), "b": np.array([1.0, 2.0])}, 0.5)
    {'a': array([5., 6.]), 'b': array([0., 0.])}
    """
    names = names_of(tensors, "tensors")
    ratio = as_ratio(retain_ratio, "retain_ratio")
    if not 0 <= as_number(min_retain, "min_retain") <= ratio:
        raise ValueError(f"min_retain must be in 0..retain_ratio = {ratio}, got {min_retain}")
    if scores is not None and names_of(scores, "scores") != names:
        raise ValueError("scores must be a container like tensors, with the same names or length")
    weights, ranked = [], []
    for name in names:
        place = f"[{name!r}]"
        w = as_numbers(tensors[name], f"tensors{place}")
        run = kernels("prune", w, backend)
        check_nan(run, w, f"tensors{place}", "raise")
        weights.append(w)
        if scores is None:
            ranked.append(w)
        else:
            ranked.append(as_scores(run, w, scores[name], "raise", place, "tensors"))
    counts = []
    if names:
        dtypes = {x.dtype for x in ranked}
        if len(dtypes) > 1:  # bfloat16 has no dtype in common with float16
            dtypes = {np.dtype(np.float32) if d.name == "bfloat16" else d for d in dtypes}
        common = np.result_type(*dtypes)
        flat = [x.astype(common, copy=False).reshape(-1) for x in ranked]
        least = [floor(min_retain * x.size) for x in flat]
        k = share(ratio, sum(x.size for x in flat))
        counts = run.global_counts(flat, k, least, scores is None)
    pruned = [
        prune(w, k=k, scores=None if scores is None else x, backend=backend)
        for w, x, k in zip(weights, ranked, counts, strict=True)
    ]
    if isinstance(tensors, dict):
        return dict(zip(names, pruned, strict=True))
    return type(tensors)(*pruned) if hasattr(tensors, "_fields") else type(tensors)(pruned)


def retain_schedule(
    step: float,
    *,
    begin: float,
    end: float,
    initial: float = 1.0,
    final: float,
    kind: Literal["cubic", "linear", "constant"] = "cubic",
) -> float:
    """The `retain_ratio` at a step of gradual pruning.

    With p = (step - begin) / (end - begin), clamped to 0..1:

        cubic     final + (initial - final) * (1 - p)**3
        linear    final + (initial - final) * (1 - p)
        constant  initial before `begin`, final from then on

    Parameters
    ----------
    step : float, finite
    begin, end : float, finite, begin <= end
        The steps between which the ratio changes. If they are equal, it changes at once.
    initial, final : float in 0..1
    kind : "cubic", "linear" or "constant"

    Raises
    ------
    TypeError
        A number is none.
    ValueError
        `end` is before `begin`, a ratio is not in 0..1, or `kind` is none of the three.

    Examples
    --------
    >>> [tersor.retain_schedule(s, begin=0, end=10, final=0.2) for s in (0, 5, 10)]
    [1.0, 0.30000000000000004, 0.2]

    Notes
    -----
    Zhu and Gupta, 2017, https://arxiv.org/abs/1710.01878, for the share that is kept.
    """
    initial, final = as_ratio(initial, "initial"), as_ratio(final, "final")
    check_one_of(kind, ("cubic", "linear", "constant"), "kind")
    for name, value in (("step", step), ("begin", begin), ("end", end)):
        if not isfinite(as_number(value, name)):
            raise ValueError(f"{name} must be finite, got {value}")
    if not begin <= end:
        raise ValueError(f"end must not be before begin, got begin={begin}, end={end}")
    if kind == "constant" or begin == end:
        left = 0.0 if step >= begin else 1.0
    else:
        left = 1 - min(max((step - begin) / (end - begin), 0), 1)
    return float(final + (initial - final) * left ** (3 if kind == "cubic" else 1))


@array_function
def pack_mask(mask: ArrayLike, *, backend: str | None = None) -> NDArray[np.uint8]:
    """A bool array as bits, eight to a byte along the last axis, the lowest bit first.

    Parameters
    ----------
    mask : bool array, shape (..., n), at least 1-D

    Returns
    -------
    uint8 array, shape (..., ceil(n / 8))
        The spare bits of a last byte are 0: `numpy.packbits` with bitorder="little", and the
        bitmask of compressed-tensors.

    Raises
    ------
    TypeError
        `mask` is not bool.
    ValueError
        `mask` is 0-D.

    Examples
    --------
    >>> tersor.pack_mask([True, False, True])
    array([5], dtype=uint8)
    """
    x = as_array(mask, "mask")
    if x.dtype != bool:
        raise TypeError(f"mask must be bool, got {x.dtype}")
    if x.ndim == 0:
        raise ValueError("mask must have an axis, got a 0-D array")
    packed: NDArray[np.uint8] = kernels("prune", x, backend).pack_mask(x)
    return packed


@array_function
def unpack_mask(packed: ArrayLike, n: int, *, backend: str | None = None) -> NDArray[np.bool_]:
    """The mask of n entries along the last axis that `pack_mask` packed.

    Parameters
    ----------
    packed : uint8 array, shape (..., ceil(n / 8)), at least 1-D
    n : int

    Returns
    -------
    bool array, shape (..., n)

    Raises
    ------
    TypeError
        `packed` is not uint8, or `n` no int.
    ValueError
        `n` entries do not take as many bytes as the last axis has.

    Examples
    --------
    >>> tersor.unpack_mask(np.array([5], np.uint8), 3)
    array([ True, False,  True])
    """
    x, n = as_array(packed, "packed"), as_index(n, "n")
    if x.dtype != np.uint8:
        raise TypeError(f"packed must be uint8, got {x.dtype}")
    if n < 0 or x.ndim == 0 or x.shape[-1] != -(-n // 8):
        raise ValueError(
            f"packed must have ceil(n / 8) bytes along its last axis for n={n}, got shape {x.shape}"
        )
    mask: NDArray[np.bool_] = kernels("prune", x, backend).unpack_mask(x, n)
    return mask
