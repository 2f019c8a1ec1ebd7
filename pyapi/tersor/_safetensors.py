"""Files of named tensors in the safetensors format: read lazily, written whole or not at all.

The library of that name is not used: its NumPy binding can not read bfloat16, and what it writes
is readable by its owner alone. The format is a length, a JSON object and the bytes of the tensors.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ._dtypes import bfloat16

_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}
_CODES = {name: code for code, name in _DTYPES.items()}
_MAX_HEADER = 100_000_000  # the format's own limit


class TensorFile(Mapping[str, NDArray[Any]]):
    """The tensors of a safetensors file as read-only views of the mapped file.

    Raises ValueError where the file is not safetensors or is cut short, which is found at once,
    and OSError where it can not be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = as_path(path, "path")
        wrong = f"{path} is no safetensors file:"
        size = self.path.stat().st_size
        if size < 8:  # found before it is opened: a pipe would wait
            raise ValueError(f"{wrong} its header does not fit in it")
        with self.path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(size - 8, _MAX_HEADER):
                raise ValueError(f"{wrong} its header does not fit in it")
            try:
                header = json.loads(file.read(length))
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{wrong} {error}") from None
        if not isinstance(header, dict):
            raise ValueError(f"{wrong} its header is no JSON object")
        self.metadata: dict[str, str] = header.pop("__metadata__", {})
        if not isinstance(self.metadata, dict):
            raise ValueError(f"{wrong} its metadata are no JSON object")
        for name, entry in header.items():
            if not _fits(entry, size - 8 - length):
                raise ValueError(f"{path}: the bytes of {name} do not fit in it")
        self._entries: dict[str, Any] = header
        is_empty = size == 8 + length  # which can not be mapped
        self._bytes: NDArray[np.uint8] = (
            np.empty(0, np.uint8) if is_empty else np.memmap(self.path, np.uint8, "r", 8 + length)
        )

    def __getitem__(self, name: str) -> NDArray[Any]:
        entry = self._entries[name]
        if entry["dtype"] not in _DTYPES:
            raise ValueError(f"{self.path}: {name} has the dtype {entry['dtype']}, not supported")
        dtype = as_dtype(_DTYPES[entry["dtype"]]).newbyteorder("<")
        start, stop = entry["data_offsets"]
        if stop - start != prod(entry["shape"]) * dtype.itemsize:
            raise ValueError(f"{self.path}: the bytes of {name} do not fit its shape")
        return np.asarray(self._bytes[start:stop]).view(dtype).reshape(entry["shape"])

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def as_path(path: Any, name: str) -> Path:
    """`path` as a Path; TypeError naming the argument where it is none."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{name} must be a str or an os.PathLike, got {type(path).__name__}")
    return Path(path)


def as_dtype(name: str) -> np.dtype[Any]:
    """The dtype of this name, which NumPy does not know of bfloat16."""
    return np.dtype(bfloat16() if name == "bfloat16" else name)


def check_destination(path: Path) -> None:
    """Raise an OSError where no file can be put at `path`, before any work is done for it."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EEXIST, "exists and is no regular file", str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "No such folder", str(path.parent))
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "No permission to write here", str(path.parent))


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to that takes its place at `path` once it is whole, or leaves no trace."""
    check_destination(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, NDArray[Any]], metadata: dict[str, str]
) -> None:
    """Write `tensors` to `path`, whole or not at all.

    Raises OSError where that fails, TypeError for a dtype that the format has not.
    """
    header: dict[str, Any] = {"__metadata__": metadata}
    # Wide entries first, so that each tensor starts at a multiple of its entry's size.
    names = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    start = 0
    for name in names:
        tensor = tensors[name]
        if name in header:
            raise ValueError(f"tensors must not have the name {name!r}")
        if tensor.dtype.name not in _CODES:
            raise TypeError(f"tensor {name!r} has the dtype {tensor.dtype}, not supported")
        stop = start + tensor.nbytes
        code = _CODES[tensor.dtype.name]
        header[name] = {"dtype": code, "shape": tensor.shape, "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with whole_file(as_path(path, "path")) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            little = np.ascontiguousarray(tensors[name], tensors[name].dtype.newbyteorder("<"))
            file.write(little.reshape(-1).view(np.uint8).data)


def _fits(entry: Any, size: int) -> bool:
    """Whether a header's entry is well formed and its bytes are among `size`."""
    match entry:
        case {"dtype": str(), "shape": [*shape], "data_offsets": [int(start), int(stop)]}:
            return 0 <= start <= stop <= size and all(isinstance(n, int) and n >= 0 for n in shape)
    return False
