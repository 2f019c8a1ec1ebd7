"""scipy's CSR array with products on our kernels."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from ._csr_product import check, compressed, product_dtype, times_csr, times_dense


class csr_array(sparse.csr_array):  # type: ignore[misc]
    """A scipy.sparse.csr_array whose `@` is parallel and checks before it reads.

    Everything else is inherited: constructor, attributes, methods, isinstance. scipy operations
    that build their result by the array's own class (`abs(a)`, `a + a`, slices, `a.T.T`) keep it;
    those that go through another format (`a.reshape`) return scipy's class. `a.T` is a CSC array
    of the same kind, a view with the same products.

    Products. `a @ x` and `x @ a`, for x of one or two dimensions and any strides, and `a @ b` for
    sparse b have scipy's result type and dtype. The kernels compute float32 and float64; float16
    and bfloat16 values, which scipy can not multiply, are widened to float32. Products of other
    dtypes (integers, complex) run scipy's kernels. The result of `a @ b` has sorted columns, each
    once, and no stored zeros: scipy drops what cancels too. Entries that are not stored count as
    absent, not as 0: 0 * nan never arises from them. Duplicates count as their sum. Results are the
    same bits for any number of threads and any layout of x.

    Raises
    ------
    ValueError
        From `@`: a column index is out of range, or indptr does not rise from 0 to at most the
        number of entries. Every product checks this anew, before it reads through the indices, so
        arrays changed in place are safe; arrays changed by another thread during the product are
        not.

    Examples
    --------
    >>> a = tersor.csr_array([[0.0, 2.0], [1.0, 0.0]])
    >>> a @ np.array([10.0, 20.0])
    array([40., 10.])
    """

    @property
    def _csr_container(self) -> Any:
        return csr_array

    @property
    def _csc_container(self) -> Any:
        return csc_array

    def __matmul__(self, other: Any) -> Any:
        return _matmul(self, other, super().__matmul__)

    def __rmatmul__(self, other: Any) -> Any:
        return _rmatmul(self, other, super().__rmatmul__)


class csc_array(sparse.csc_array):  # type: ignore[misc]
    """The transpose of a tersor.csr_array, with its products."""

    _csr_container = csr_array._csr_container
    _csc_container = csr_array._csc_container

    def __matmul__(self, other: Any) -> Any:
        return _matmul(self, other, super().__matmul__)

    def __rmatmul__(self, other: Any) -> Any:
        return _rmatmul(self, other, super().__rmatmul__)


def _matmul(a: Any, other: Any, inherited: Callable[[Any], Any]) -> Any:
    """a @ other; what the kernels do not cover, and errors, by the inherited method."""
    computed = _computed(a, other, a.shape[-1], 0)
    if computed and isinstance(other, np.ndarray):
        return times_dense(compressed(a), other, None, a.format == "csc", None)
    check_all(a, other)
    return sparse_product(a, other, None) if computed else inherited(other)


def _rmatmul(a: Any, other: Any, inherited: Callable[[Any], Any]) -> Any:
    """other @ a; Python asks here first where `other` is of scipy's own class."""
    computed = _computed(a, other, a.shape[0], -1)
    if computed and isinstance(other, np.ndarray):
        return times_dense(compressed(a), other.T, None, a.format == "csr", None).T
    check_all(a, other)
    return sparse_product(other.asformat(a.format), a, None) if computed else inherited(other)


def _computed(a: Any, other: Any, length: int, axis: int) -> bool:
    """Whether kernels compute the 2-D `a` times `other`, of `length` along the summed axis."""
    if isinstance(other, np.ndarray) and other.ndim > 2:
        raise ValueError(
            "a dense factor of a csr_array must have one or two dimensions, "
            f"got shape {other.shape}"
        )
    dense = type(other) is np.ndarray
    return (
        a.ndim == 2
        and ((dense and other.ndim in (1, 2)) or (sparse.issparse(other) and other.ndim == 2))
        and other.shape[axis] == length
        and product_dtype(a.dtype, other.dtype) is not None
    )


def check_all(*operands: Any, backend: str | None = None) -> None:
    """`check` those that are CSR or CSC: scipy reads through their indices, to convert them too."""
    for x in operands:
        if sparse.issparse(x) and x.format in ("csr", "csc"):
            check(compressed(x), backend)


def sparse_product(a: Any, b: Any, backend: str | None) -> Any:
    """a @ b, both checked, in the class of `a`, which is CSR or CSC."""
    first, second = compressed(a), compressed(b.asformat(a.format))
    if a.format == "csc":  # (A B).T = B.T A.T
        first, second = second, first
    arrays = times_csr(first, second, backend)
    result = type(a)(arrays, shape=(a.shape[0], b.shape[1]))
    result.has_canonical_format = True
    return result
