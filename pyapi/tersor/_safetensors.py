"""Files of named tensors: written by the safetensors library, read lazily, bfloat16 included."""

import json
import os
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._dtypes import bfloat16

_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
_MAX_HEADER = 100_000_000  # the format's own limit


class TensorFile(Mapping[str, NDArray[Any]]):
    """The tensors of a safetensors file as read-only views of the mapped file.

    The safetensors library's NumPy binding can not read bfloat16, so the header, a length and a
    JSON object, is read here; every offset is checked against the file before it is used.

    Raises ValueError where the file is not safetensors or is cut short.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _MAX_HEADER):
                raise ValueError(f"{path} is no safetensors file: its header does not fit in it")
            try:
                header = json.loads(file.read(length))
            except ValueError as error:
                raise ValueError(f"{path} is no safetensors file: {error}") from None
        self.metadata: dict[str, str] = header.pop("__metadata__", {})
        self._entries: dict[str, Any] = header
        self._bytes = np.memmap(self.path, np.uint8, "r", 8 + length) if size > 8 + length else b""

    def __getitem__(self, name: str) -> NDArray[Any]:
        entry = self._entries[name]
        start, stop = entry["data_offsets"]
        if entry["dtype"] != "BF16" and entry["dtype"] not in _DTYPES:
            raise ValueError(f"{self.path}: {name} has the dtype {entry['dtype']}, not supported")
        dtype = np.dtype(bfloat16() if entry["dtype"] == "BF16" else _DTYPES[entry["dtype"]])
        shape = tuple(entry["shape"])
        if (
            not 0 <= start <= stop <= len(self._bytes)
            or stop - start != prod(shape) * dtype.itemsize
        ):
            raise ValueError(f"{self.path}: the bytes of {name} do not fit its shape or the file")
        return np.asarray(self._bytes[start:stop]).view(dtype).reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, NDArray[Any]], metadata: dict[str, str]
) -> None:
    """Write `tensors` to `path`, whole or not at all: to a file beside it that is then renamed."""
    try:
        from safetensors import TensorSpec, serialize_file
    except ImportError:
        raise ImportError("writing needs safetensors: pip install 'tersor[models]'") from None
    # Contiguous: the library writes the bytes behind the pointer, whatever the strides.
    arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    specs = {
        name: TensorSpec(
            dtype=array.dtype.name,
            shape=tensors[name].shape,
            data_ptr=array.ctypes.data,
            data_len=array.nbytes,
        )
        for name, array in arrays.items()
    }
    temporary = Path(f"{os.fspath(path)}.{os.getpid()}.tmp")
    try:
        serialize_file(specs, temporary, metadata=metadata)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
