"""Products with CSR arrays, row by row in float64 where the arrays are floats."""

from itertools import pairwise

import numpy as np

from .quantize import absmax_scale


def is_valid(indptr, indices, columns):
    """Whether indptr rises from 0 to at most indices.size, and the indices are in 0..columns-1."""
    if indptr[0] != 0 or (np.diff(indptr) < 0).any() or indptr[-1] > indices.size:
        return False
    used = indices[: indptr[-1]]
    return bool(((used >= 0) & (used < columns)).all())


def matmul_vector(indptr, indices, data, scale, x, out):
    """out = diag(scale) A x; False, with nothing written, if A's structure is not valid."""
    return matmul_dense(indptr, indices, data, scale, x[:, None], out[:, None])


def matmul_dense(indptr, indices, data, scale, b, out):
    """out = diag(scale) A b; False, with nothing written, if A's structure is not valid."""
    if not is_valid(indptr, indices, len(b)):
        return False
    b, values = b.astype(np.float64), _scaled(indptr, data, scale)
    with np.errstate(all="ignore"):
        for r, row in enumerate(_rows(indptr)):
            out[r] = (values[row, None] * b[indices[row]]).sum(axis=0)
    return True


def rmatmul_vector(indptr, indices, data, scale, x, out):
    """out = A.T diag(scale) x; False, with nothing written, if A's structure is not valid."""
    return rmatmul_dense(indptr, indices, data, scale, x[:, None], out[:, None])


def rmatmul_dense(indptr, indices, data, scale, b, out):
    """out = A.T diag(scale) b; False, with nothing written, if A's structure is not valid."""
    if not is_valid(indptr, indices, len(out)):
        return False
    b, values = b.astype(np.float64), _scaled(indptr, data, scale)
    total = np.zeros(out.shape)
    with np.errstate(all="ignore"):
        for r, row in enumerate(_rows(indptr)):
            np.add.at(total, indices[row], values[row, None] * b[r])
        out[...] = total
    return True


def matmul_csr(a_indptr, a_indices, a_data, b_indptr, b_indices, b_data, columns):
    """indptr, indices and data of A B for valid structures; canonical, without zeros."""
    a_rows, b_rows = _rows(a_indptr), _rows(b_indptr)
    counts, indices, data = [0], [np.empty(0, np.int64)], [np.empty(0)]
    with np.errstate(all="ignore"):
        for a_row in a_rows:
            total = np.zeros(columns)
            for p in range(a_row.start, a_row.stop):
                b_row = b_rows[a_indices[p]]
                np.add.at(total, b_indices[b_row], np.float64(a_data[p]) * b_data[b_row])
            total = total.astype(a_data.dtype)
            indices.append(np.flatnonzero(total))
            data.append(total[indices[-1]])
            counts.append(indices[-1].size)
    indptr = np.cumsum(counts)
    return indptr, np.concatenate(indices), np.concatenate(data).astype(a_data.dtype)


def sddmm(indptr, indices, a, b, out):
    """out[p] = (a @ b)[row, column] of each entry p of a valid structure."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(all="ignore"):
        for r, row in enumerate(_rows(indptr)):
            out[row] = (a[r, :, None] * b[:, indices[row]]).sum(axis=0)


def from_dense(w, keep):
    """indptr, indices and data of the entries of w that are not 0 and where `keep` is true."""
    rows, columns = np.nonzero(keep & (w != 0))
    indptr = np.searchsorted(rows, np.arange(len(w) + 1))
    return indptr.astype(np.int32), columns.astype(np.int32), w[rows, columns]


def quantize_rows(indptr, data):
    """int8 data / scale, rounded half to even, and scale = largest magnitude of each row / 127."""
    rows = _rows(indptr)
    largest = np.array([np.abs(data[row]).max(initial=0) for row in rows], data.dtype)
    scale = absmax_scale(largest, 127)
    q = np.rint(data / np.repeat(scale, np.diff(indptr)))
    return np.clip(q, -127, 127).astype(np.int8), scale


def _rows(indptr):
    return [slice(low, high) for low, high in pairwise(indptr)]


def _scaled(indptr, data, scale):
    values = data[: indptr[-1]].astype(np.float64)
    if scale is None:
        return values
    return values * np.repeat(scale.astype(np.float64), np.diff(indptr))
