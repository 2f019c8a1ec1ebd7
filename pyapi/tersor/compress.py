"""Compress the weights of a network: prune, quantize, and store each tensor where it is smallest.

    tensors = tersor.compress.TensorFile("model.safetensors")
    small = tersor.compress.compress(tensors, retain_ratio=0.5)
    tersor.compress.save("small.safetensors", small)
    weights = {name: t.to_dense() for name, t in tersor.compress.load("small.safetensors").items()}

What is stored, the content, is decided by `retain_ratio` and `dtype`; how it is stored, the layout,
is the one with the fewest bytes:

    dense    every entry
    bitmask  a bit an entry, and the entries that are not zero
    csr      the entries that are not zero, their columns (uint16 where they fit), and row starts

A tensor is never stored in more bytes than it had. Files are safetensors; the layout of each tensor
is in the metadata entry "tersor". Reading and writing them needs the safetensors library
(`pip install 'tersor[models]'`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from math import inf, nan, prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ._arguments import as_index
from ._dtypes import FLOATS
from ._progress import track
from ._quantized import QuantizedArray
from ._retain import as_numbers, as_ratio
from ._safetensors import TensorFile, as_dtype, as_path, write_tensors
from .prune import pack_mask, prune, unpack_mask
from .quantize import quantize

__all__ = ["CompressedTensor", "TensorFile", "compress", "compress_tensor", "load", "save", "sqnr"]

Layout = Literal["dense", "bitmask", "csr"]


@dataclass(frozen=True)
class CompressedTensor:
    """A tensor as it is stored.

    layout : "dense", "bitmask" or "csr"
    shape, dtype : of the tensor that was given, and of `to_dense()`
    parts : "values"; "scale" if they are quantized; "bitmask", or "indices" and "indptr"
    block_size : entries that share a scale; None if a row shares one
    """

    layout: Layout
    shape: tuple[int, ...]
    dtype: str
    parts: Mapping[str, NDArray[Any]]
    block_size: int | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all parts."""
        return sum(part.nbytes for part in self.parts.values())

    @property
    def sparsity(self) -> float:
        """Share of the entries that are zero as stored."""
        stored = np.count_nonzero(self.parts["values"])
        return 1 - int(stored) / max(1, prod(self.shape))

    def to_dense(self) -> NDArray[Any]:
        """The tensor, in its shape and dtype: its values as pruned and quantized.

        Raises ValueError where the parts do not fit together.
        """
        try:
            return self._dense()
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"the parts of the tensor do not fit together: {error}") from error

    def _dense(self) -> NDArray[Any]:
        rows, n = _matrix_shape(self.shape)
        values = self.parts["values"]
        if self.layout != "dense":
            dense = np.zeros((rows, n), values.dtype)
            dense[self._mask(rows, n)] = values
            values = dense
        if "scale" in self.parts:
            axis = 1 if self.block_size else 0
            values = QuantizedArray(
                values.reshape(rows, n),
                self.parts["scale"],
                shape=(rows, n),
                dtype="int8",
                axis=axis,
                block_size=self.block_size,
            ).dequantize()
        return np.asarray(values).astype(as_dtype(self.dtype), copy=False).reshape(self.shape)

    def _mask(self, rows: int, n: int) -> NDArray[Any]:
        if self.layout == "bitmask":
            return unpack_mask(self.parts["bitmask"], n)
        mask = np.zeros((rows, n), bool)
        row = np.repeat(np.arange(rows), np.diff(self.parts["indptr"]))
        places = np.ravel_multi_index((row, self.parts["indices"]), mask.shape)
        mask.reshape(-1)[places] = True
        return mask


def compress_tensor(
    w: NDArray[Any],
    *,
    retain_ratio: float | None = None,
    dtype: str | None = "int8",
    block_size: int | None = None,
) -> CompressedTensor:
    """Prune and quantize one tensor and store it in the smallest layout.

    Parameters
    ----------
    w : array of 2 or more axes, float16, bfloat16, float32, float64
        The first axis is the output channel; the others count as one. Integers, bools and tensors
        of fewer axes are stored as they are.
    retain_ratio : float, optional
        Share of the entries to keep, the largest by magnitude (`tersor.prune`); all by default.
    dtype : "int8" or None
        Quantize the values, symmetric, or leave them.
    block_size : int, optional
        Entries that share a scale; by default those of an output channel do.

    Raises
    ------
    TypeError
        An argument, or the dtype of `w`, is none of those above; `w` is a CompressedTensor.
    ValueError
        An argument is out of range; `w` holds NaN and is to be pruned or quantized, or an infinity
        and is to be quantized.
    """
    if isinstance(w, CompressedTensor):
        raise TypeError("w must be an array, got one that is already compressed by tersor")
    _check_options(retain_ratio, dtype, block_size)
    w = as_numbers(w, "w")
    as_is = CompressedTensor("dense", w.shape, w.dtype.name, {"values": w})
    if w.ndim < 2 or w.dtype.name not in FLOATS or w.size == 0:
        return as_is
    if dtype is not None and not np.isfinite(w).all():
        raise ValueError("w must be finite to be quantized, got NaN or inf")
    if retain_ratio is not None and np.isnan(w).any():
        raise ValueError("w must not hold NaN to be pruned")
    values: Any = w.reshape(_matrix_shape(w.shape))
    if retain_ratio is not None:
        values = prune(values, retain_ratio)
    shared = {}
    if dtype is not None:
        axis = 0 if block_size is None else None
        quantized = quantize(values, dtype=dtype, axis=axis, block_size=block_size)
        values, shared = quantized.data, {"scale": quantized.scale}
    layout, parts = min(_layouts(values), key=lambda named: _bytes(named[1]))
    small = CompressedTensor(layout, w.shape, w.dtype.name, {**parts, **shared}, block_size)
    return small if small.nbytes < w.nbytes else as_is


def compress(
    tensors: Mapping[str, NDArray[Any]],
    *,
    retain_ratio: float | None = None,
    dtype: str | None = "int8",
    block_size: int | None = None,
    exclude: tuple[str, ...] = (),
) -> dict[str, CompressedTensor]:
    """`compress_tensor` for each of `tensors`; names that match a pattern of `exclude` stay.

    Patterns are those of `fnmatch`: "*embeddings*". Shows a progress bar on a terminal. Errors are
    those of `compress_tensor`, with the name of the tensor; a file that `save` wrote is a
    ValueError.
    """
    _check_mapping(tensors, "arrays, such as TensorFile(path)")
    if isinstance(tensors, TensorFile) and "tersor" in tensors.metadata:
        raise ValueError(
            f"{tensors.path} is already compressed by tersor: compress the original, or what "
            "`tersor expand` makes of this file"
        )
    _check_options(retain_ratio, dtype, block_size)
    if not isinstance(exclude, (tuple, list)) or not all(isinstance(p, str) for p in exclude):
        raise TypeError(f"exclude must be a tuple of patterns, got {exclude!r}")
    result = {}
    for name in track(list(tensors), "Compressing"):
        stays = any(fnmatch(name, pattern) for pattern in exclude)
        try:
            result[name] = compress_tensor(
                tensors[name],
                retain_ratio=None if stays else retain_ratio,
                dtype=None if stays else dtype,
                block_size=block_size,
            )
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"tensor {name!r}: {error}") from error
    return result


def save(path: str | os.PathLike[str], tensors: Mapping[str, CompressedTensor]) -> None:
    """Write compressed tensors to a safetensors file, whole or not at all.

    The parts of tensor "w" are "w" itself, its values, and "w.scale", "w.bitmask" and so on.
    Raises OSError where nothing can be written to `path`, ValueError where names clash.
    """
    path = as_path(path, "path")
    _check_mapping(tensors, "CompressedTensors, as `compress` gives it")
    parts: dict[str, NDArray[Any]] = {}
    layouts = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, CompressedTensor):
            got = type(tensor).__name__
            raise TypeError(f"tensors[{name!r}] must be a CompressedTensor, got {got}")
        layouts[name] = {
            "layout": tensor.layout,
            "shape": tensor.shape,
            "dtype": tensor.dtype,
            "block_size": tensor.block_size,
            "parts": list(tensor.parts),
        }
        for part, array in tensor.parts.items():
            key = _key(name, part)
            if key in parts:
                raise ValueError(f"tensors must not hold {key!r}: a part of another is named so")
            parts[key] = array
    write_tensors(path, parts, {"format": "tersor", "tersor": json.dumps(layouts)})


def load(path: str | os.PathLike[str]) -> dict[str, CompressedTensor]:
    """Read what `save` wrote, all of its parts.

    Raises OSError where the file can not be read, ValueError where `save` has not written it so.
    """
    file = TensorFile(path)
    if "tersor" not in file.metadata:
        raise ValueError(f"{path} was not written by tersor: its metadata has no entry 'tersor'")
    try:
        return {
            name: CompressedTensor(
                layout=entry["layout"],
                shape=tuple(entry["shape"]),
                dtype=entry["dtype"],
                parts={part: file[_key(name, part)] for part in entry["parts"]},
                block_size=entry["block_size"],
            )
            for name, entry in json.loads(file.metadata["tersor"]).items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged: its entry 'tersor' does not fit it: {error}"
        ) from error


def sqnr(original: NDArray[Any], approximation: NDArray[Any]) -> float:
    """Signal to quantization noise ratio in dB: 10 log10(sum(w^2) / sum((w - v)^2)).

    inf where nothing was lost, NaN where either array holds NaN or inf. Raises TypeError for what
    is no array of numbers, ValueError where the shapes differ.
    """
    w, v = as_numbers(original, "original"), as_numbers(approximation, "approximation")
    if v.shape != w.shape:
        raise ValueError(f"approximation must have the shape {w.shape}, got {v.shape}")
    if not (np.isfinite(w).all() and np.isfinite(v).all()):
        return nan
    w = w.astype(np.float64)
    signal = np.square(w).sum()
    np.subtract(w, v, out=w)
    noise = np.square(w, out=w).sum()
    return inf if noise == 0 else 10 * float(np.log10(signal / noise))


def _check_options(retain_ratio: Any, dtype: Any, block_size: Any) -> None:
    if retain_ratio is not None:
        as_ratio(retain_ratio, "retain_ratio")
    if dtype is not None and not isinstance(dtype, str):
        raise TypeError(f"dtype must be 'int8' or None, got {dtype!r}")
    if dtype not in ("int8", None):
        raise ValueError(f"dtype must be 'int8' or None, got {dtype!r}")
    if block_size is not None and as_index(block_size, "block_size") < 1:
        raise ValueError(f"block_size must be at least 1, got {block_size}")


def _check_mapping(tensors: Any, of: str) -> None:
    if not isinstance(tensors, Mapping):
        got = type(tensors).__name__
        raise TypeError(f"tensors must be a mapping of names to {of}, got {got}")
    for name in tensors:
        if not isinstance(name, str):
            raise TypeError(f"tensors must have names that are str, got {name!r}")


def _matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    return (shape[0], prod(shape[1:])) if len(shape) > 1 else (1, prod(shape))


def _key(name: str, part: str) -> str:
    return name if part == "values" else f"{name}.{part}"


def _bytes(parts: Mapping[str, NDArray[Any]]) -> int:
    return sum(part.nbytes for part in parts.values())


def _layouts(values: NDArray[Any]) -> list[tuple[Layout, dict[str, NDArray[Any]]]]:
    """A matrix in every layout. The dense one comes first, so it wins where bytes are level."""
    mask = values != 0
    kept = values[mask]
    row_starts = np.concatenate([[0], np.cumsum(mask.sum(axis=1))]).astype(np.int32)
    index_dtype = np.uint16 if values.shape[1] <= 2**16 else np.int32
    indices = np.nonzero(mask)[1].astype(index_dtype)
    return [
        ("dense", {"values": values}),
        ("bitmask", {"values": kept, "bitmask": pack_mask(mask)}),
        ("csr", {"values": kept, "indices": indices, "indptr": row_starts}),
    ]
