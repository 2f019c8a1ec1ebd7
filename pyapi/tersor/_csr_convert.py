"""From dense arrays to CSR, and from CSR to int8."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from ._arguments import as_index, check_array
from ._backends import array_function, as_array, kernels
from ._csr_array import check_all, csr_array
from ._csr_product import Csr, check, times_dense
from ._csr_torch import csr_to_torch, is_tensor, to_host
from ._dtypes import FLOATS, as_float
from .prune import prune_mask


def to_csr(
    w: ArrayLike,
    retain_ratio: float | None = None,
    *,
    k: int | None = None,
    threshold: float | None = None,
    backend: str | None = None,
) -> Any:
    """Convert a dense array to CSR; with one of the options, prune it on the way.

    The result holds what `csr_array(prune(w, retain_ratio, k=k, threshold=threshold))` holds, with
    a mask of one byte an entry in place of the dense pruned copy. Without an option it holds every
    entry that is not 0.

    Parameters
    ----------
    w : array, 2-D, real
        float16 and bfloat16 become float32, as scipy has no sparse array of them.
    retain_ratio, k, threshold : optional, at most one
        As in `prune`: the k = floor(retain_ratio * w.size + 0.5) entries of largest magnitude are
        kept, of equals the first.
    backend : str, optional
        Run on this backend instead of the one that owns `w`.

    Returns
    -------
    csr_array of the shape of `w`; for a torch tensor, a torch CSR tensor
        Canonical: sorted columns, no stored zeros (-0.0 neither; a kept entry that is 0 is not
        stored). NaN is stored if no option is given, and an error otherwise.

    Raises
    ------
    TypeError
        `w` is complex or not numeric, or already sparse: `csr_array` takes those.
    ValueError
        `w` is not 2-D; the options are not those of `prune`.

    Examples
    --------
    >>> tersor.to_csr([[3.0, -1.0], [0.0, 2.0]], k=2).toarray()
    array([[3., 0.],
           [0., 2.]])
    """
    if is_tensor(w):
        pruned = to_csr(to_host(w), retain_ratio, k=k, threshold=threshold, backend=backend)
        return csr_to_torch(pruned)
    if sparse.issparse(w):
        raise TypeError(f"w must be dense, got a {type(w).__name__}: call csr_array(w)")
    dense = as_array(w, "w")
    if dense.ndim != 2:
        raise ValueError(f"w must be 2-D, got {dense.ndim}-D")
    if dense.dtype.kind not in "iub" and dense.dtype.name not in FLOATS:
        raise TypeError(f"w must be {', '.join(FLOATS)} or integers, got {dense.dtype}")
    if retain_ratio is None and k is None and threshold is None:
        keep = dense != 0
    else:
        keep = prune_mask(dense, retain_ratio, k=k, threshold=threshold, backend=backend)
    if dense.dtype.itemsize == 2 and dense.dtype.kind not in "iu":
        dense = dense.astype(np.float32)
    indptr, indices, data = kernels("csr", dense, backend).from_dense(dense, keep)
    result = csr_array((data, indices, indptr), shape=dense.shape)
    result.has_canonical_format = True
    return result


@dataclass(frozen=True, eq=False)
class QuantizedCSR:
    """A CSR array of int8 values with one float scale a row: about 3 bytes an entry.

    It stands for the array with entries data[p] * scale[row]; `q @ x` and `x @ q`, for x of one or
    two dimensions, multiply by that array without making it. Build one with `from_csr` or
    `from_dense`.

    Parameters
    ----------
    data : int8, shape (nnz,)
    indices : uint16, int32 or int64, shape (nnz,)
        Column of each entry.
    indptr : int32 or int64, shape (rows + 1,)
        Row r holds the entries indptr[r] to indptr[r + 1] - 1.
    scale : float32 or float64, shape (rows,)
    shape : (rows, columns)

    Raises
    ------
    TypeError, ValueError
        The arrays do not have these dtypes and shapes. That every index is in range is checked by
        each product, before it reads through the indices (ValueError).

    Notes
    -----
    The product sums data * x in the dtype of the result, float32, or float64 if x or scale is, and
    multiplies by the row's scale at the end. float16 and bfloat16 x give float32.

    Examples
    --------
    >>> q = tersor.QuantizedCSR.from_dense([[127.0, 0.0], [1.0, 0.5]])
    >>> q @ np.array([1.0, 2.0])
    array([127.        ,   2.00787402])
    """

    data: NDArray[np.int8]
    indices: NDArray[Any]
    indptr: NDArray[Any]
    scale: NDArray[Any]
    shape: tuple[int, int]

    __array_ufunc__ = None  # so that `x @ q` comes here

    def __post_init__(self) -> None:
        for name in ("data", "indices", "indptr", "scale"):
            check_array(getattr(self, name), name)
        is_pair = isinstance(self.shape, tuple) and len(self.shape) == 2
        if not is_pair or any(as_index(n, "each length in shape") < 0 for n in self.shape):
            raise TypeError(f"shape must be a tuple (rows, columns), got {self.shape!r:.60}")
        if self.data.dtype != np.int8:
            raise TypeError(f"data must be int8, got {self.data.dtype}")
        if self.scale.dtype not in (np.float32, np.float64):
            raise TypeError(f"scale must be float32 or float64, got {self.scale.dtype}")
        if self.scale.shape != self.shape[:1]:
            raise ValueError(f"scale must have shape {self.shape[:1]}, got {self.scale.shape}")
        self._csr()

    @classmethod
    def from_csr(cls, a: Any, *, backend: str | None = None) -> QuantizedCSR:
        """Quantize the rows of a CSR array (scipy's or torch's) symmetrically.

        scale = largest magnitude of the row / 127, or 1 where that is 0, and
        data = round(value / scale), half to even, in -127..127: each entry is off by at most
        scale / 2. Duplicates are summed first, in a copy. scale has the dtype of the values,
        float32 for 16-bit floats. ValueError if a value is NaN or infinite.
        """
        a = to_host(a)
        if not sparse.issparse(a) or a.ndim != 2:
            raise TypeError(f"a must be a 2-D sparse array, got {type(a).__name__}")
        check_all(a, backend=backend)
        a = a.tocsr()
        values = as_float(a.data[: a.nnz], "a")
        if values.dtype.itemsize == 2:
            values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise ValueError("a must be finite, got NaN or infinity")
        if not a.has_canonical_format:
            a = csr_array((values, a.indices[: a.nnz], a.indptr), shape=a.shape, copy=True)
            a.sum_duplicates()
            values = a.data
        data, scale = kernels("csr", values, backend).quantize_rows(a.indptr, values)
        small = np.uint16 if a.shape[1] <= 2**16 else np.int32
        index = small if a.shape[1] <= 2**31 else np.int64
        offset = np.int32 if a.nnz < 2**31 else np.int64
        return cls(data, a.indices[: a.nnz].astype(index), a.indptr.astype(offset), scale, a.shape)

    @classmethod
    def from_dense(
        cls,
        w: ArrayLike,
        retain_ratio: float | None = None,
        *,
        k: int | None = None,
        threshold: float | None = None,
        backend: str | None = None,
    ) -> QuantizedCSR:
        """`from_csr(to_csr(w, retain_ratio, k=k, threshold=threshold))`."""
        a = to_csr(to_host(w), retain_ratio, k=k, threshold=threshold, backend=backend)
        return cls.from_csr(a, backend=backend)

    @property
    def nnz(self) -> int:
        """Number of entries."""
        return int(self.indptr[-1])

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        arrays = (getattr(self, field.name) for field in fields(self))
        return sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))

    def tocsr(self) -> csr_array:
        """The array this stands for, in the dtype of scale."""
        check(self._csr())
        data = self.data[: self.nnz] * np.repeat(self.scale, np.diff(self.indptr))
        index = np.int64 if self.indices.dtype == np.int64 else np.int32
        indices = self.indices[: self.nnz].astype(index)
        return csr_array((data, indices, self.indptr.copy()), shape=self.shape)

    def toarray(self) -> NDArray[Any]:
        """The array this stands for, dense."""
        dense: NDArray[Any] = self.tocsr().toarray()
        return dense

    def __repr__(self) -> str:
        kind = f"{self.shape[0]}x{self.shape[1]}, {self.nnz} entries, {self.nbytes} bytes"
        return f"<QuantizedCSR {kind}>"

    def __matmul__(self, x: ArrayLike) -> NDArray[Any]:
        return _times(x, self, False)

    def __rmatmul__(self, x: ArrayLike) -> NDArray[Any]:
        return _times(x, self, True)

    def _csr(self) -> Csr:
        return Csr(self.indptr, self.indices, self.data, *self.shape, self.scale)


@array_function
def _times(x: ArrayLike, q: QuantizedCSR, transposed: bool) -> NDArray[Any]:
    """q @ x, or x @ q."""
    if sparse.issparse(x) or isinstance(x, QuantizedCSR):
        raise TypeError(f"x must be dense, got a {type(x).__name__}: multiply q.tocsr() by it")
    y = as_float(as_array(x, "x"), "x")
    if y.ndim not in (1, 2):
        raise ValueError(f"x must be 1-D or 2-D, got {y.ndim}-D")
    inner, got = (q.shape[0], y.shape[-1]) if transposed else (q.shape[1], y.shape[0])
    if inner != got:
        raise ValueError(f"x must have {inner} entries along the summed axis, got {got}")
    product = times_dense(q._csr(), y.T if transposed else y, None, transposed, None)
    return product.T if transposed else product
