"""Products with compressed sparse arrays, whoever holds them: checks, result dtype, kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arguments import is_room, placed
from ._backends import kernels

_COMPUTED = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True)
class Csr:
    """The arrays of a (rows, columns) CSR array A; with `scale`, of diag(scale) A."""

    indptr: NDArray[Any]
    indices: NDArray[Any]
    data: NDArray[Any]
    rows: int
    columns: int
    scale: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        for name, array in (("indptr", self.indptr), ("indices", self.indices)):
            if array.dtype.kind not in "iu":
                raise TypeError(f"{name} must be integers, got {array.dtype}")
        for name, array in vars(self).items():
            if isinstance(array, np.ndarray) and array.ndim != 1:
                raise ValueError(f"{name} must be 1-D, got {array.ndim}-D")
        if self.indptr.size != self.rows + 1:
            raise ValueError(f"indptr must have {self.rows + 1} entries, got {self.indptr.size}")
        if self.indices.size != self.data.size:
            sizes = f"{self.indices.size} and {self.data.size}"
            raise ValueError(f"indices and data must have one size, got {sizes}")


def compressed(a: Any) -> Csr:
    """The arrays of a scipy CSR array (1-D too), or of a CSC array's transpose."""
    shape = a.shape if a.ndim == 2 else (1, *a.shape)
    rows, columns = shape if a.format == "csr" else shape[::-1]
    return Csr(a.indptr, a.indices, a.data, rows, columns)


def product_dtype(*dtypes: Any) -> Any:
    """scipy's dtype of the product; None where it is not one of those that kernels compute."""
    dtype = np.result_type(*dtypes)
    if dtype.itemsize == 2 and dtype.kind not in "iu":  # float16, bfloat16
        return np.dtype(np.float32)
    return dtype if dtype in _COMPUTED else None


def check(a: Csr, backend: str | None = None) -> None:
    """Raise ValueError unless every row and column that the structure names exists."""
    if not kernels("csr", a.data, backend).is_valid(a.indptr, a.indices, a.columns):
        raise broken(a)


def broken(a: Csr) -> ValueError:
    """The error that says what is wrong with a structure that a kernel refused."""
    falls = np.flatnonzero(a.indptr[1:] < a.indptr[:-1])
    if a.indptr[0] != 0:
        return ValueError(f"indptr must start with 0, got {a.indptr[0]}")
    if falls.size:
        i = falls[0]
        return ValueError(f"indptr must not fall, got {a.indptr[i]}, {a.indptr[i + 1]} at {i}")
    if a.indptr[-1] > a.indices.size:
        ends = f"{a.indptr[-1]} with {a.indices.size} indices"
        return ValueError(f"indptr must end at the number of indices at most, got {ends}")
    outside = np.flatnonzero((a.indices < 0) | (a.indices >= a.columns))
    got = f"{a.indices[outside[0]]} at entry {outside[0]}" if outside.size else "a changing array"
    return ValueError(f"indices must be in 0..{a.columns - 1}, got {got}")


def times_dense(
    a: Csr, x: NDArray[Any], out: NDArray[Any] | None, transposed: bool, backend: str | None
) -> NDArray[Any]:
    """A x, or A.T x if `transposed`, for x of one or two dimensions, in `out` if given."""
    dtype = product_dtype(a.data.dtype if a.scale is None else a.scale.dtype, x.dtype)
    shape = (a.columns if transposed else a.rows, *x.shape[1:])
    data = a.data.astype(dtype, copy=False) if a.scale is None else a.data
    x = x.astype(dtype, copy=False)
    inputs = (x, data, a.indices, a.indptr, a.scale)
    result = out if out is not None and is_room(out, *inputs) else np.empty(shape, dtype)
    one = x.ndim == 1 or x.shape[1] == 1
    name = f"{'r' if transposed else ''}matmul_{'vector' if one else 'dense'}"
    kernel = getattr(kernels("csr", a.data, backend), name)
    arrays = (x.reshape(-1), result.reshape(-1)) if one else (x, result)
    if not kernel(a.indptr, a.indices, data, a.scale, *arrays):
        raise broken(a)
    answer: NDArray[Any] = placed(result, out)
    return answer


def times_csr(a: Csr, b: Csr, backend: str | None) -> tuple[Any, Any, Any]:
    """data, indices and indptr of A B, both checked, in canonical form."""
    dtype = product_dtype(a.data.dtype, b.data.dtype)
    index = np.result_type(a.indptr, a.indices, b.indptr, b.indices, np.int32)
    arrays = [
        array.astype(kind, copy=False)
        for x in (a, b)
        for array, kind in ((x.indptr, index), (x.indices, index), (x.data, dtype))
    ]
    indptr, indices, data = kernels("csr", a.data, backend).matmul_csr(*arrays, b.columns)
    return data, indices, indptr
