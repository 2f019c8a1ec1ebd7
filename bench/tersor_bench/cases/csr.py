"""Cases of CSR products: rows, columns, columns of the dense operand, entries in a row."""

import warnings

import numpy as np
import scipy.sparse as sp

import tersor

from ..case import Case, optional


def _operands(shape, dtype, rng):
    """A scipy CSR array with `entries` a row on average, uneven, and a dense array."""
    rows, columns, n, entries = shape
    lengths = np.minimum(rng.geometric(1 / entries, rows), columns)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    picks = [np.sort(rng.choice(columns, length, replace=False)) for length in lengths]
    data = rng.standard_normal(indptr[-1]).astype(dtype)
    a = sp.csr_array((data, np.concatenate(picks).astype(np.int32), indptr), shape=(rows, columns))
    return a, rng.standard_normal((columns, n)).astype(dtype)


def _ours(operands):
    a, x = tersor.csr_array(operands[0]), operands[1]
    return lambda: a @ x


def _ours_int8(operands):
    q, x = tersor.QuantizedCSR.from_csr(operands[0]), operands[1]
    return lambda: q @ x


def _scipy(operands):
    a, x = operands
    return lambda: a @ x


def _numpy_dense(operands):
    dense, x = operands[0].toarray(), operands[1]
    return lambda: dense @ x


def _torch(operands):
    torch = optional("torch")
    if torch is None:
        return None
    a, x = operands
    arrays = [torch.from_numpy(array) for array in (a.indptr, a.indices, a.data)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support")
        tensor = torch.sparse_csr_tensor(*arrays, a.shape, check_invariants=False)
    dense = torch.from_numpy(x)
    return lambda: tensor @ dense


def _mkl(operands):
    mkl = optional("sparse_dot_mkl")
    if mkl is None:
        return None
    a, x = operands
    return lambda: mkl.dot_product_mkl(a, x)


def _check_product(operands, result):
    a, x = operands
    want, size = a.astype(np.float64) @ x, abs(a) @ np.abs(x)
    assert (np.abs(np.asarray(result) - want) <= 1e-5 * size).all()


def _product_bytes(shape, itemsize):
    rows, columns, n, entries = shape
    return rows * entries * (itemsize + 4) + (rows + columns) * n * itemsize


def _square(operands):
    a = tersor.csr_array(operands[0])
    return lambda: a @ a


def _scipy_square(operands):
    a = operands[0]
    return lambda: a @ a


def _check_square(operands, result):
    a = operands[0].astype(np.float64)
    size = (abs(a) @ abs(a)).toarray()
    assert (np.abs(result.toarray() - (a @ a).toarray()) <= 1e-5 * size).all()


CASES = (
    *(
        Case(
            op=op,
            shape=shape,
            toy=(60, 50, shape[2], 4),
            dtype="float32",
            inputs=_operands,
            contenders={
                "tersor": _ours,
                "tersor, int8": _ours_int8,
                "scipy": _scipy,
                "numpy, dense": _numpy_dense,
                "torch": _torch,
                "sparse_dot_mkl": _mkl,
            },
            bytes=_product_bytes,
            check=_check_product,
            flops=lambda shape: 2 * shape[0] * shape[2] * shape[3],
            inexact={"tersor, int8": "values rounded to int8"},
        )
        for op, shape in (
            ("csr.matmul", (4096, 4096, 256, 200)),
            ("csr.matmul_vector", (4096, 4096, 1, 400)),
        )
    ),
    Case(
        op="csr.matmul_csr",
        shape=(4096, 4096, 1, 20),
        toy=(50, 50, 1, 4),
        dtype="float32",
        inputs=_operands,
        contenders={"tersor": _square, "scipy": _scipy_square},
        bytes=lambda shape, itemsize: shape[0] * shape[3] ** 2 * (itemsize + 4),
        check=_check_square,
    ),
)
