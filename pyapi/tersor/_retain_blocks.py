"""Blocks of entries that are kept or pruned whole, a part of the array at a time."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ._arguments import as_index

_PART = 1 << 18  # entries, about: what stands beside the array and the result is small


class Blocks:
    """An array of `shape` in blocks; a size of None is that of the whole axis."""

    def __init__(self, pattern: tuple[int | None, ...], shape: tuple[int, ...]) -> None:
        if len(pattern) != len(shape):
            raise ValueError(f"pattern must have a size for each axis of {shape}, got {pattern}")
        self.sizes = [
            max(1, n) if size is None else as_index(size, "each size in pattern")
            for size, n in zip(pattern, shape, strict=True)
        ]
        if any(size < 1 or n % size for size, n in zip(self.sizes, shape, strict=True)):
            raise ValueError(f"pattern must divide the shape {shape}, got {pattern}")
        self.counts = tuple(n // size for n, size in zip(shape, self.sizes, strict=True))

    def _parts(self, size: int) -> Iterator[tuple[Any, Any]]:
        """Slices of the blocks, and those of the entries of an array of `size`: the same parts for
        every memory layout."""
        if not self.counts or size == 0:
            yield (), ()
            return
        axis = int(np.argmax(self.counts))
        step = max(1, _PART * self.counts[axis] // size)
        for start in range(0, self.counts[axis], step):
            stop = min(start + step, self.counts[axis])
            before, length = (slice(None),) * axis, self.sizes[axis]
            yield (
                (*before, slice(start, stop)),
                (*before, slice(start * length, stop * length)),
            )

    def sums(self, x: Any, magnitude: bool) -> Any:
        """The sum of each block in float64, in one order for any memory layout."""
        sums = np.empty_like(x, np.float64, order="C", shape=self.counts)
        within = tuple(range(1, 2 * x.ndim, 2))
        for blocks, entries in self._parts(x.size):
            part = x[entries]
            if magnitude:
                part = np.abs(part.astype(np.float64) if x.dtype.kind in "iub" else part)
            with np.errstate(invalid="ignore"):
                part = np.ascontiguousarray(part).reshape(self._pairs(part.shape))
                sums[blocks] = part.sum(axis=within, dtype=np.float64)
        return sums

    def _pairs(self, shape: tuple[int, ...]) -> list[int]:
        pairs = zip(shape, self.sizes, strict=True)
        return [item for n, size in pairs for item in (n // size, size)]

    def write(self, kept: Any, function: Callable[[Any, Any], Any], out: Any) -> Any:
        """out = function(slices of the entries, the mask of them), part by part."""
        each_entry = tuple(item for _ in self.sizes for item in (slice(None), None))
        for blocks, entries in self._parts(out.size):
            part = out[entries]
            mask = np.empty_like(kept, shape=self._pairs(part.shape))
            mask[...] = kept[blocks][each_entry]
            out[entries] = function(entries, mask.reshape(part.shape))
        return out
