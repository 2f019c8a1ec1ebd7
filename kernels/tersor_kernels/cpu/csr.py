"""Products with CSR arrays: the kernels are in the modules imported here."""

import numpy as np

from ..reference.quantize import absmax_scale
from . import _csr_entries, _csr_gather, _csr_scatter, _csr_sparse
from ._parallel import workers

_LANES = 64  # bytes of columns that the dense kernels need at least


def is_valid(indptr, indices, columns):
    """Whether indptr rises from 0 to at most indices.size, and the indices are in 0..columns-1."""
    return bool(_csr_sparse.is_valid(workers(), _plain(indptr), _unsigned(indices), columns))


def matmul_vector(indptr, indices, data, scale, x, out):
    """out = diag(scale) A x; False, with nothing written, if A's structure is not valid."""
    args = _arrays(indptr, indices, data, scale, out)
    return bool(_csr_gather.vector(workers(), *args, _plain(x), out.reshape(-1, 1)))


def matmul_dense(indptr, indices, data, scale, b, out):
    """out = diag(scale) A b; False, with nothing written, if A's structure is not valid."""
    return _dense(_csr_gather.dense, indptr, indices, data, scale, b, out)


def rmatmul_vector(indptr, indices, data, scale, x, out):
    """out = A.T diag(scale) x; False, with nothing written, if A's structure is not valid."""
    args = _arrays(indptr, indices, data, scale, out)
    return bool(_csr_scatter.vector(workers(), *args, _plain(x), out))


def rmatmul_dense(indptr, indices, data, scale, b, out):
    """out = A.T diag(scale) b; False, with nothing written, if A's structure is not valid."""
    return _dense(_csr_scatter.dense, indptr, indices, data, scale, b, out)


def matmul_csr(a_indptr, a_indices, a_data, b_indptr, b_indices, b_data, columns):
    """indptr, indices and data of A B for valid structures; canonical, without zeros."""
    a, b = (
        (_plain(indptr), _unsigned(indices), _plain(data))
        for indptr, indices, data in ((a_indptr, a_indices, a_data), (b_indptr, b_indices, b_data))
    )
    indptr, indices, data = _csr_sparse.product(workers(), *a, *b, columns)
    return indptr, indices.view(a_indices.dtype), data


def sddmm(indptr, indices, a, b, out):
    """out[p] = (a @ b)[row, column] of each entry p of a valid structure."""
    args = _plain(indptr), _unsigned(indices), _plain(a), _plain(b.T)
    _csr_entries.sampled(workers(), *args, out)


def from_dense(w, keep):
    """indptr, indices and data of the entries of w that are not 0 and where `keep` is true."""
    w, keep = _plain(w), _plain(keep)
    indptr = np.zeros(len(w) + 1, np.int64)
    _csr_entries.count(workers(), w, keep, indptr)
    small = max(indptr[-1], *w.shape) <= np.iinfo(np.int32).max
    indices = np.empty(indptr[-1], np.int32 if small else np.int64)
    data = np.empty(indptr[-1], w.dtype)
    _csr_entries.fill(workers(), w, keep, indptr, indices, data)
    return indptr.astype(indices.dtype, copy=False), indices, data


def quantize_rows(indptr, data):
    """int8 data / scale, rounded half to even, and scale = largest magnitude of each row / 127."""
    indptr, data = _plain(indptr), _plain(data)
    largest, out = np.empty(indptr.size - 1, data.dtype), np.empty(data.size, np.int8)
    _csr_entries.absmax(workers(), indptr, data, largest)
    scale = absmax_scale(largest, 127)
    _csr_entries.quantize(workers(), indptr, data, scale, out)
    return out, scale


def _plain(x):
    """`x`, or a view or copy of it, that Numba types alike: C-contiguous, aligned, not read-only.

    Kernels write to `out` alone; without the view they would compile again for read-only inputs.
    """
    if not (x.flags.c_contiguous and x.flags.aligned and x.dtype.isnative):
        return np.array(x, x.dtype.newbyteorder("="), order="C")
    return x if x.flags.writeable else np.asarray(_Unlocked(x))


class _Unlocked:
    """The memory of a read-only array as if it could be written."""

    def __init__(self, x):
        self.keeps_alive = x
        self.__array_interface__ = x.__array_interface__ | {"data": (x.ctypes.data, False)}


def _unsigned(indices):
    return _plain(indices).view(f"u{indices.dtype.itemsize}")


def _arrays(indptr, indices, data, scale, out):
    scale = np.empty(0, out.dtype) if scale is None else scale.astype(out.dtype, copy=False)
    return _plain(indptr), _unsigned(indices), _plain(data), _plain(scale)


def _dense(kernel, indptr, indices, data, scale, b, out):
    args = _arrays(indptr, indices, data, scale, out)
    n, least = out.shape[1], _LANES // out.itemsize
    if n < least:
        padded = np.zeros((len(b), least), b.dtype)
        padded[:, :n] = b
        wide = np.empty((len(out), least), out.dtype)
        valid = kernel(workers(), *args, padded, False, wide)
        if valid:
            out[...] = wide[:, :n]
        return bool(valid)
    transposed = b.flags.f_contiguous and not b.flags.c_contiguous
    return bool(kernel(workers(), *args, _plain(b.T if transposed else b), transposed, out))
