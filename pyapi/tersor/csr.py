"""Compressed sparse row arrays: scipy's, with parallel products, and int8 ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from ._arguments import check_out, placed
from ._backends import _to_torch, as_array, kernels
from ._csr_array import check_all, sparse_product
from ._csr_array import csr_array as csr_array
from ._csr_convert import QuantizedCSR as QuantizedCSR
from ._csr_convert import to_csr as to_csr
from ._csr_product import compressed, product_dtype, times_dense
from ._csr_torch import csr_to_torch, is_tensor, to_host
from ._dtypes import FLOATS, as_float


def csr_matmul(
    a: Any, b: Any, *, out: NDArray[Any] | None = None, backend: str | None = None
) -> Any:
    """a @ b where at least one of the two is sparse.

    Parameters
    ----------
    a, b : 2-D sparse array or matrix of scipy, torch CSR tensor, or 1-D or 2-D dense array
        CSR and CSC (`a.T` of a CSR array) are used as they are, other formats converted. Unsorted
        columns, duplicates and stored zeros are right; the inputs are not changed.
    out : ndarray or tensor, optional
        Where a dense result goes: of the result's shape and dtype, any strides. It may share
        memory with `a` and `b`.
    backend : str, optional
        Run on this backend instead of the one that owns `a` and `b`. Products of dtypes other than
        floats run scipy's kernels on any.

    Returns
    -------
    dense array, if `a` or `b` is one; else CSR, of the class of `a`
        The dtype is scipy's (float32 for 16-bit floats). As for `csr_array`: the sparse result is
        canonical and without stored zeros, entries that are not stored count as absent (no
        0 * nan), the bits do not depend on threads and layout. Tensors in, tensor out.

    Raises
    ------
    TypeError
        Neither is sparse, or one is no array; `out` has another dtype, or the result is sparse.
    ValueError
        The shapes do not fit; the structure of a sparse operand is broken (found before any kernel
        runs); `out` has another shape or is read-only.

    Examples
    --------
    >>> from scipy import sparse
    >>> tersor.csr_matmul([10.0, 20.0], sparse.csr_matrix([[0.0, 2.0], [1.0, 0.0]]))
    array([20., 20.])
    """
    if is_tensor(a) or is_tensor(b):
        result = csr_matmul(to_host(a), to_host(b), out=to_host(out), backend=backend)
        if sparse.issparse(result):
            return csr_to_torch(result)
        return _to_torch(result) if out is None else out
    a, b = _operand(a, "a"), _operand(b, "b")
    if not (sparse.issparse(a) or sparse.issparse(b)):
        raise TypeError("a or b must be sparse, got two dense arrays")
    if a.shape[-1] != b.shape[0]:
        raise ValueError(f"a and b must fit, got shapes {a.shape} and {b.shape}")
    dtype = product_dtype(a.dtype, b.dtype)
    if sparse.issparse(a) and sparse.issparse(b):
        if out is not None:
            raise TypeError("out must be None where the result is sparse")
        check_all(a, b, backend=backend)
        return a.tocsr() @ b if dtype is None else sparse_product(a.tocsr(), b, backend)
    if dtype is None:
        check_all(a, b, backend=backend)
        result = a @ b
        if out is None:
            return result
        check_out(out, result.shape, result.dtype)
        return placed(result, out)
    check_out(out, a.shape[:-1] + b.shape[1:], dtype)
    if sparse.issparse(a):
        return times_dense(compressed(a), b, out, a.format == "csc", backend)
    target = None if out is None else out.T
    result = times_dense(compressed(b), a.T, target, b.format == "csr", backend).T
    return result if out is None else out


def _operand(x: Any, name: str) -> Any:
    """CSR, CSC or dense."""
    if isinstance(x, QuantizedCSR):
        raise TypeError(f"{name} must be floats, got a QuantizedCSR: multiply it by @")
    if not sparse.issparse(x):
        x = as_array(x, name)
        if x.ndim not in (1, 2):
            raise ValueError(f"{name} must be 1-D or 2-D, got {x.ndim}-D")
        if x.dtype.kind not in "iubfc" and x.dtype.name not in FLOATS:
            raise TypeError(f"{name} must be numeric, got {x.dtype}")
    elif x.ndim != 2:
        raise ValueError(f"{name}, if sparse, must be 2-D, got {x.ndim}-D")
    elif x.format not in ("csr", "csc"):
        x = x.tocsr()
    return x


def sddmm(pattern: Any, a: ArrayLike, b: ArrayLike, *, backend: str | None = None) -> Any:
    """The entries of a @ b where `pattern` has entries: the gradient of a pruned layer.

    What is stored in `pattern` counts, not its values: entry p of the result is
    sum_k a[row, k] * b[k, column], as torch.sparse.sampled_addmm with beta=0. To weigh the entries
    by the values, multiply: `pattern.multiply(sddmm(pattern, a, b))`.

    Parameters
    ----------
    pattern : 2-D sparse array or matrix of scipy, or torch CSR tensor, shape (m, n)
        Formats other than CSR are converted.
    a : array, shape (m, k)
    b : array, shape (k, n)
        Any strides; the transpose of a C-contiguous (n, k) array is read without a copy.
    backend : str, optional
        Run on this backend instead of the one that owns `a`.

    Returns
    -------
    CSR of the class of `pattern`, with a copy of its structure
        Stored zeros stay, unsorted columns stay unsorted, and of duplicates each gets the whole
        sum. The dtype is that of a @ b: float32 or float64; float32 for 16-bit floats, float64 for
        integers. NaN and inf follow arithmetic.

    Raises
    ------
    TypeError
        `pattern` is not sparse; `a` or `b` is complex or not numeric.
    ValueError
        The shapes do not fit; the structure of `pattern` is broken.

    Examples
    --------
    >>> pattern = tersor.csr_array([[1.0, 0.0], [0.0, 1.0]])
    >>> tersor.sddmm(pattern, [[1.0], [2.0]], [[10.0, 20.0]]).toarray()
    array([[10.,  0.],
           [ 0., 40.]])
    """
    if is_tensor(pattern):
        result = sddmm(to_host(pattern), to_host(a), to_host(b), backend=backend)
        return csr_to_torch(result)
    if not sparse.issparse(pattern) or pattern.ndim != 2:
        raise TypeError(f"pattern must be a 2-D sparse array, got {type(pattern).__name__}")
    x, y = as_float(as_array(to_host(a), "a"), "a"), as_float(as_array(to_host(b), "b"), "b")
    want = f"(m, k) and (k, n) with pattern (m, n) = {pattern.shape}"
    fit = x.ndim == y.ndim == 2 and (x.shape[0], y.shape[1]) == pattern.shape
    if not fit or x.shape[1] != y.shape[0]:
        raise ValueError(f"a and b must have shapes {want}, got {x.shape} and {y.shape}")
    check_all(pattern, backend=backend)
    pattern = pattern.tocsr()
    dtype = product_dtype(x.dtype, y.dtype)
    values = np.empty(pattern.nnz, dtype)
    indptr, indices = pattern.indptr.copy(), pattern.indices[: values.size].copy()
    x, y = x.astype(dtype, copy=False), y.astype(dtype, copy=False)
    kernels("csr", x, backend).sddmm(indptr, indices, x, y, values)
    return type(pattern)((values, indices, indptr), shape=pattern.shape)
