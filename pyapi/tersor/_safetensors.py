"""Files of named tensors in the safetensors format: read lazily, written whole or not at all."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._dtypes import bfloat16


class TensorFile(Mapping[str, NDArray[Any]]):
    """The tensors of a safetensors file as read-only arrays, each read when it is asked for.

    Raises ValueError where the file is not safetensors or is cut short, which is found at once,
    OSError where it can not be read, and ImportError without the safetensors library.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = as_path(path, "path")
        wrong = f"{path} is no safetensors file, or is damaged"
        library = _library()
        if self.path.is_fifo():  # opening it would wait
            raise ValueError(f"{wrong}: it is a pipe")
        with self.path.open("rb"):  # the library calls every failure "No such file"
            pass
        with _errors_of_library(self.path, wrong):
            self._file = library.safe_open(self.path, "np")
            self._names: dict[str, None] = dict.fromkeys(self._file.keys())
            self.metadata: dict[str, str] = self._file.metadata() or {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._names:
            raise KeyError(name)
        dtype = self._file.get_slice(name).get_dtype()
        if dtype == "BF16":
            bfloat16()  # which NumPy knows once it is imported
        try:
            tensor: NDArray[Any] = self._file.get_tensor(name)
        except Exception as error:  # of many types: float8, 100 axes, 2**60 entries of no bytes
            wrong = f"{name} ({dtype}) can not be read as an array"
            raise ValueError(f"{self.path}: {wrong}: {error}") from error
        tensor.flags.writeable = False
        return tensor

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


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
def whole_file(path: Path) -> Iterator[Path]:
    """An empty file to write, which takes its place at `path` in the end, or leaves no trace."""
    check_destination(path)
    try:
        with TemporaryDirectory(prefix=".tersor-", dir=path.parent) as folder:
            file = Path(folder) / path.name
            file.touch()
            usual = file.stat().st_mode
            yield file
            file.chmod(usual)  # the library's own file is readable by its owner alone
            os.replace(file, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, NDArray[Any]], metadata: dict[str, str]
) -> None:
    """Write `tensors` to `path`, whole or not at all.

    Raises OSError where that fails, ValueError for a name or dtype that the format has not, and
    ImportError without the safetensors library.
    """
    path = as_path(path, "path")
    if "__metadata__" in tensors:  # the library would write it over the metadata
        raise ValueError("tensors must not have the name '__metadata__'")
    # In C order: the library writes the memory as it lies.
    plain = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    library = _library()
    with whole_file(path) as file, _errors_of_library(path, f"{path} can not be written"):
        library.numpy.save_file(plain, file, metadata)


def _library() -> Any:
    """The safetensors library; ImportError with the remedy where it is missing."""
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError(
            "safetensors files need the safetensors library: pip install 'tersor[models]'"
        ) from None
    return safetensors


@contextmanager
def _errors_of_library(path: Path, wrong: str) -> Iterator[None]:
    """What the library raises as the OSError that it tells of, or as a ValueError."""
    try:
        yield
    except (OSError, _library().SafetensorError) as error:
        if code := re.search(r"\(os error (\d+)\)", str(error)):
            number = int(code[1])
            raise OSError(number, os.strerror(number), str(path)) from error
        if isinstance(error, OSError):
            raise
        raise ValueError(f"{wrong}: {error}") from error
