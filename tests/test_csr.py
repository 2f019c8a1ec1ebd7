import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16

import tersor
from tersor.testing import assert_identical, guarded, hostile, layouts, unchanged

FLOATS = [np.float32, np.float64]
DTYPES = [(np.float32, np.int32), (np.float32, np.int64), (np.float64, np.int32)]


def random_csr(shape, density=0.3, dtype=np.float32, index=np.int32, seed=0):
    """Unsorted columns, duplicates, stored zeros and empty rows, unless too small for them."""
    rng = np.random.default_rng(seed)
    rows, columns = shape
    lengths = rng.binomial(columns, density, rows) if columns else np.zeros(rows, int)
    lengths[rng.random(rows) < 0.2] = 0
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(index)
    data = rng.standard_normal(indptr[-1])
    data[rng.random(data.size) < 0.1] = 0
    a = tersor.csr_array(shape)
    a.data, a.indptr = data.astype(dtype), indptr
    a.indices = rng.integers(0, max(columns, 1), indptr[-1]).astype(index)
    return a


def exact(a, magnitude=False):
    """`a` (dense, CSR or CSC) as a dense float64 array; `magnitude`: of sums of magnitudes."""
    data = a if isinstance(a, np.ndarray) else a.data
    data = np.abs(data.astype(np.float64)) if magnitude else data.astype(np.float64)
    if isinstance(a, np.ndarray):
        return data
    dense = np.zeros(a.shape)
    major = np.repeat(np.arange(a.indptr.size - 1), np.diff(a.indptr))
    np.add.at(dense, (major, a.indices) if a.format == "csr" else (a.indices, major), data)
    return dense


def assert_product(got, a, b, dtype, terms=None):
    """`got` is a @ b, of `dtype`, up to the rounding of sums of `terms` (a row's length) terms."""
    assert type(got) is np.ndarray and got.dtype == dtype
    bound = exact(a, magnitude=True) @ exact(b, magnitude=True)
    bound *= 2 * (terms or a.shape[-1]) * np.finfo(dtype).eps
    assert got.shape == bound.shape
    assert (np.abs(got - exact(a) @ exact(b)) <= bound + np.finfo(dtype).tiny).all()


# Panels are 64, 32 and 16 columns of float32; a row of more than 8192 entries is cut; one column
# and a vector have kernels of their own.
COLUMNS = [1, 2, 15, 16, 17, 33, 64, 100, 129]


@pytest.mark.parametrize("n", COLUMNS)
@pytest.mark.parametrize("dtype, index", DTYPES)
def test_dense_products(backend, n, dtype, index):
    a = random_csr((37, 29), dtype=dtype, index=index)
    right, left = hostile("normal", (29, n), dtype), hostile("normal", (n, 37), dtype)
    with unchanged(a.data, a.indices, a.indptr, right, left):
        assert_product(tersor.csr_matmul(a, right, backend=backend), a, right, dtype)
        assert_product(tersor.csr_matmul(left, a, backend=backend), left, a, dtype)
        assert_product(tersor.csr_matmul(a.T, left.T, backend=backend), a.T, left.T, dtype)
        assert_product(tersor.csr_matmul(right.T, a.T, backend=backend), right.T, a.T, dtype)


@pytest.mark.parametrize("dtype, index", DTYPES)
def test_vector_products(backend, dtype, index):
    a = random_csr((300, 200), dtype=dtype, index=index)
    right, left = hostile("normal", 200, dtype), hostile("normal", 300, dtype)
    assert_product(tersor.csr_matmul(a, right, backend=backend), a, right, dtype)
    assert_product(tersor.csr_matmul(left, a, backend=backend), left, a, dtype)
    assert_product(tersor.csr_matmul(a.T, left, backend=backend), a.T, left, dtype)
    assert_product(tersor.csr_matmul(right, a.T, backend=backend), right, a.T, dtype)


def test_operators_are_csr_matmul():
    a = random_csr((20, 30))
    x, y = hostile("normal", (30, 40)), hostile("normal", (40, 20))
    assert_identical(a @ x, tersor.csr_matmul(a, x))
    assert_identical(a.dot(x[:, 0]), tersor.csr_matmul(a, x[:, 0]))
    assert_identical(y @ a, tersor.csr_matmul(y, a))
    assert_identical(a.T @ y.T, tersor.csr_matmul(a.T, y.T))
    assert_identical(x.T @ a.T, tersor.csr_matmul(x.T, a.T))
    assert (y @ a).flags.f_contiguous and (sp.csr_array(a).__rmatmul__(y)).flags.f_contiguous


@pytest.mark.parametrize("n", [1, 3, 20, 70])
def test_layout_does_not_change_the_bits(backend, n):
    a = random_csr((40, 60), density=0.5)
    x = hostile("normal", (60, n))
    want = tersor.csr_matmul(a, x, backend=backend)
    want_t = tersor.csr_matmul(x.T, a.T, backend=backend)
    for name, view in layouts(x):
        with unchanged(view):
            assert_identical(tersor.csr_matmul(a, view, backend=backend), want), name
            assert_identical(tersor.csr_matmul(view.T, a.T, backend=backend), want_t), name
    a.data.flags.writeable = a.indices.flags.writeable = a.indptr.flags.writeable = False
    assert_identical(tersor.csr_matmul(a, x, backend=backend), want)


def power_law(dtype=np.float32):
    """One row with half of all entries, and many blocks of rows."""
    rng = np.random.default_rng(3)
    lengths = rng.zipf(1.6, 3000).clip(0, 2000)
    lengths[1234] = lengths.sum()
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    data = rng.standard_normal(indptr[-1]).astype(dtype)
    indices = rng.integers(0, 500, indptr[-1], np.int32)
    return tersor.csr_array((data, indices, indptr), shape=(3000, 500))


@pytest.mark.parametrize("n", [1, 20])
def test_long_rows(n):
    a = power_law()
    assert np.diff(a.indptr).max() > 3 * 8192
    x, y = hostile("normal", (500, n)), hostile("normal", (3000, n))
    assert_product(a @ x, a, x, np.float32, terms=50)
    assert_product(a.T @ y, a.T, y, np.float32, terms=500)
    # a row's sum depends on that row alone
    assert_identical(a[1000:1300] @ x, (a @ x)[1000:1300])


def test_same_bits_for_any_thread_count(threads):
    a, b = power_law(), random_csr((500, 300), density=0.05)
    x, y = hostile("normal", (500, 40)), hostile("normal", (40, 3000))

    def everything():
        products = a @ x, a @ x[:, 0], y @ a, y[0] @ a
        ours = a @ b, tersor.sddmm(a, y.T, x.T), tersor.to_csr(y, 0.3)
        q = tersor.QuantizedCSR.from_csr(a)
        arrays = [array for c in ours for array in (c.data, c.indices, c.indptr)]
        return *products, *arrays, q.data, q.scale, q @ x

    got = everything()
    with tersor.num_threads(1):
        for one, other in zip(everything(), got, strict=True):
            assert_identical(one, other)


@pytest.mark.parametrize("b_dtype", [np.float32, np.float64, np.int8, np.int64, np.complex64])
@pytest.mark.parametrize("a_dtype", [*FLOATS, np.int8, np.int32, np.complex128, bool])
def test_dtypes_are_scipys(a_dtype, b_dtype):
    a = random_csr((20, 30))
    a.data = np.round(4 * a.data).astype(a_dtype)
    x = np.round(4 * hostile("normal", (30, 5))).astype(b_dtype)
    plain = sp.csr_array(a)
    assert_identical(a @ x, plain @ x)  # sums of small integers are exact
    assert_identical(tersor.csr_matmul(x.T, a.T), x.T @ plain.T)
    b = tersor.csr_array(x)
    got, want = a @ b, plain @ sp.csr_array(x)
    assert type(got) is tersor.csr_array
    assert_identical(got.toarray(), want.toarray())
    assert got.nnz == want.nnz


@pytest.mark.parametrize("dtype", [np.float16, bfloat16])
def test_half_floats_are_computed_in_float32(backend, dtype):
    a = random_csr((20, 30), dtype=dtype)
    x = hostile("normal", (30, 5), dtype)
    got = tersor.csr_matmul(a, x, backend=backend)
    wide = random_csr((20, 30))
    wide.data = a.data.astype(np.float32)
    assert_identical(got, tersor.csr_matmul(wide, x.astype(np.float32), backend=backend))


@pytest.mark.parametrize("n", [1, 20])
def test_nan_and_inf_are_scipys(n):
    a = random_csr((50, 40), dtype=np.float64)
    a.data = hostile("specials", a.nnz, np.float64)
    x = hostile("specials", (40, n), np.float64)
    y = hostile("specials", (50, n), np.float64)
    plain = sp.csr_array((a.data, a.indices, a.indptr), shape=a.shape)
    with np.errstate(invalid="ignore"):
        for got, want in ((a @ x, plain @ x), (a.T @ y, plain.T @ y)):
            assert np.isnan(want).any()
            np.testing.assert_allclose(got, want, rtol=1e-12)
        b = random_csr((40, 30), dtype=np.float64, seed=1)
        b.data = hostile("specials", b.nnz, np.float64)
        plain_b = sp.csr_array((b.data, b.indices, b.indptr), shape=b.shape)
        got, want = a @ b, plain @ plain_b
        assert got.nnz == want.nnz
        np.testing.assert_allclose(got.toarray(), want.toarray(), rtol=1e-12)


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (1, 1), (3, 4)])
@pytest.mark.parametrize("n", [0, 1, 20])
def test_empty(backend, shape, n):
    rows, columns = shape
    for a in (tersor.csr_array(shape, dtype=np.float32), random_csr(shape, 1.0)):
        x, y = np.ones((columns, n), np.float32), np.ones((n, rows), np.float32)
        got = tersor.csr_matmul(a, x, backend=backend), tersor.csr_matmul(y, a, backend=backend)
        assert_product(got[0], a, x, np.float32)
        assert_product(got[1], y, a, np.float32)
        square = tersor.csr_matmul(a, a.T, backend=backend)
        assert_product(square.toarray(), a, a.T, np.float32)
        assert tersor.csr_matmul(a, x[:, :0], backend=backend).shape == (rows, 0)
        assert tersor.to_csr(a.toarray(), backend=backend).shape == shape


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(30, 20, 10), (50, 300, 4200), (1, 40, 70), (70, 1, 1)])
def test_sparse_products(backend, shape, dtype):
    m, k, n = shape
    a = random_csr((m, k), 0.2, dtype, np.int64 if dtype == np.float32 else np.int32)
    b = random_csr((k, n), 0.1, dtype, seed=1)
    with unchanged(a.data, a.indices, b.data, b.indices):
        got = tersor.csr_matmul(a, b, backend=backend)
    assert type(got) is tersor.csr_array and got.shape == (m, n)
    assert_product(got.toarray(), a, b, dtype)
    again = tersor.csr_array((got.data, got.indices, got.indptr), shape=got.shape)
    assert again.has_canonical_format and np.count_nonzero(got.data) == got.nnz


def test_sparse_products_keep_scipys_classes():
    a, b = random_csr((20, 30)), random_csr((30, 10))
    want = a.toarray() @ b.toarray()
    scipys = sp.csr_array(b), sp.csr_matrix(b), b.tocoo(), b.tocsc(), b.copy().tolil()
    for other in (b, b.T.T, *scipys):
        assert type(a @ other) is tersor.csr_array
        np.testing.assert_allclose((a @ other).toarray(), want, rtol=1e-5, atol=1e-5)
    got = b.T @ a.T
    assert isinstance(got, sp.csc_array) and isinstance(got.T, tersor.csr_array)
    np.testing.assert_allclose(got.toarray(), want.T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose((a.T @ a).toarray(), a.toarray().T @ a.toarray(), atol=1e-4)


def test_what_cancels_is_not_stored(backend):
    a = tersor.csr_array(np.array([[1.0, -1.0], [1.0, 1.0]]))
    b = tersor.csr_array(np.array([[1.0, 0.0], [1.0, 2.0]]))
    got, want = tersor.csr_matmul(a, b, backend=backend), sp.csr_array(a) @ sp.csr_array(b)
    assert got.nnz == want.nnz == 3
    assert_identical(got.toarray(), want.toarray())


def test_class_is_scipys_and_stays():
    a = random_csr((20, 30))
    assert isinstance(a, sp.csr_array) and sp.issparse(a) and a.format == "csr"
    a.sum_duplicates()
    kept = (abs(a), a + a, 2 * a, a[3:7], a[:, [1, 2]], a.copy(), a.astype(float), a.T.T, -a)
    kept += (a.multiply(a), a.tocsc().tocsr(), sp.linalg.matrix_power(a @ a.T, 2))
    for b in (*kept, pickle.loads(pickle.dumps(a))):
        assert type(b) is tersor.csr_array
    assert np.shares_memory(a.T.data, a.data) and np.shares_memory(a.T.T.indices, a.indices)
    assert a.sum() == pytest.approx(float(a.toarray().sum()), abs=1e-4)
    x = hostile("normal", 20)
    assert_identical(sp.linalg.aslinearoperator(a).rmatvec(x), a.T @ x)


def test_operands_that_scipy_takes():
    a = tersor.csr_array(np.array([[1.0, 2.0], [0.0, 3.0]]))
    assert_identical(a @ [1.0, 1.0], np.array([3.0, 3.0]))
    assert_identical([[1.0, 1.0]] @ a, np.array([[1.0, 5.0]]))
    with pytest.warns(PendingDeprecationWarning, match="matrix"):
        assert_identical(a @ np.matrix([[1.0], [1.0]]), np.array([[3.0], [3.0]]))
    row = tersor.csr_array(np.array([1.0, 2.0]))
    assert row @ np.array([3.0, 4.0]) == 11 and (a @ row).shape == (2,)
    assert_identical(row @ np.ones((2, 3)), np.full(3, 3.0))
    with pytest.raises(ValueError, match="dimension mismatch"):
        a @ np.ones(3)
    with pytest.raises(ValueError, match="dimension mismatch"):
        a @ tersor.csr_array((3, 2))
    with pytest.raises(ValueError, match="Scalar operands"):
        a @ 2.0
    for product in (lambda: a @ np.ones((3, 2, 2)), lambda: np.ones((3, 2, 2)) @ a):
        with pytest.raises(ValueError, match=r"must have one or two dimensions, got shape \(3, 2,"):
            product()


BREAKS = {
    "indices must be in 0..3, got 4 at entry 2": ("indices", 2, 4),
    "indices must be in 0..3, got -1 at entry 0": ("indices", 0, -1),
    "indptr must start with 0, got 1": ("indptr", 0, 1),
    "indptr must not fall, got 100, 3 at 1": ("indptr", 1, 100),
    "indptr must not fall, got 1, -7 at 1": ("indptr", 2, -7),
    "indptr must end at the number of indices at most, got 2000000000 with 5": (
        "indptr",
        3,
        2 * 10**9,
    ),
}


@pytest.mark.parametrize("message", BREAKS)
@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_broken_structure(backend, message, dtype):
    a = tersor.csr_array(
        (np.ones(5, dtype), np.array([0, 2, 1, 3, 0]), np.array([0, 1, 3, 5])), shape=(3, 4)
    )
    right, left = np.ones((4, 20), np.float32), np.ones((20, 3), np.float32)
    a @ right  # valid so far
    transposed = a.T
    array, i, value = BREAKS[message]
    getattr(a, array)[i] = value
    out = np.full((3, 20), 7, np.float32)
    calls = [
        lambda: tersor.csr_matmul(a, right, backend=backend),
        lambda: tersor.csr_matmul(a, right[:, 0], backend=backend),
        lambda: tersor.csr_matmul(left, a, backend=backend),
        lambda: tersor.csr_matmul(left[0], a, backend=backend),
        lambda: tersor.csr_matmul(transposed, left.T, backend=backend),
        lambda: tersor.csr_matmul(a, transposed, backend=backend),
        lambda: tersor.csr_matmul(tersor.csr_array(np.eye(3)), a, backend=backend),
        lambda: tersor.sddmm(a, np.ones((3, 20)), np.ones((20, 4)), backend=backend),
        lambda: tersor.QuantizedCSR.from_csr(a, backend=backend),
        lambda: a @ right,
        lambda: a @ [1, 2, 3, 4],
        lambda: left @ a,
        lambda: [1, 2, 3] @ a,
        lambda: transposed @ a,
        lambda: sp.csr_array(np.eye(3)) @ a,
    ]
    if dtype == np.float32:
        calls.append(lambda: tersor.csr_matmul(a, right, out=out, backend=backend))
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()
    assert (out == 7).all()


def test_broken_sizes():
    a = random_csr((3, 4))
    a.indptr = a.indptr[:-1]
    with pytest.raises(ValueError, match="indptr must have 4 entries, got 3"):
        a @ np.ones(4)
    a = random_csr((3, 4), 0.9)
    a.data = a.data[:-1]
    with pytest.raises(ValueError, match="indices and data must have one size"):
        a @ np.ones(4)
    a = random_csr((3, 4))
    a.indices = a.indices.astype(float)
    with pytest.raises(TypeError, match="indices must be integers, got float64"):
        a @ np.ones(4)


def test_csr_matmul_returns_the_family_it_gets(backend):
    a, b = random_csr((20, 30)), random_csr((30, 10), seed=1)
    want = (exact(a) @ exact(b)).astype(np.float32)
    for kind in (sp.csr_array, sp.csr_matrix, tersor.csr_array):
        got = tersor.csr_matmul(kind(a), b, backend=backend)
        assert type(got) is kind
        assert_close(got.toarray(), want)
    for other in (a.tocoo(), a.tocsc(), sp.csc_matrix(a), a.tobsr(), a.T.T):
        got = tersor.csr_matmul(other, b, backend=backend)
        assert got.format == "csr" and isinstance(got, sp.spmatrix) == isinstance(
            other, sp.spmatrix
        )
        assert_close(got.toarray(), want)
        x = hostile("normal", (30, 4))
        assert_product(tersor.csr_matmul(other, x, backend=backend), a, x, np.float32)


@pytest.mark.parametrize("n", [1, 5, 20])
def test_out(backend, n):
    a, x = random_csr((25, 25)), hostile("normal", (25, n))
    want, want_t = tersor.csr_matmul(a, x), tersor.csr_matmul(x.T, a)
    for name, out in layouts(np.zeros_like(want)):
        if out.flags.writeable:
            assert tersor.csr_matmul(a, x, out=out, backend=backend) is out
            assert_close(out, want), name
            assert tersor.csr_matmul(x.T, a, out=out.T, backend=backend).base is not None
            assert_close(out.T, want_t), name
    with guarded((25, n), np.float32) as out:
        tersor.csr_matmul(a, x, out=out, backend=backend)
        assert_close(out, want)
    assert tersor.csr_matmul(a, x, out=x, backend=backend) is x
    assert_close(x, want)
    integers = random_csr((25, 25)).astype(np.int32)
    out = np.zeros((25, n), np.int64)
    ones = np.ones((25, n), np.int64)
    assert tersor.csr_matmul(integers, ones, out=out, backend=backend) is out
    assert_identical(out, sp.csr_array(integers) @ ones)


def assert_close(got, want):
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_csr_matmul_errors(backend):
    a, x = random_csr((3, 4)), np.ones((4, 2), np.float32)

    def raises(error, match, *args, out=None):
        with pytest.raises(error, match=match):
            tersor.csr_matmul(*args, out=out, backend=backend)

    raises(TypeError, "a or b must be sparse, got two dense arrays", x.T, x)
    raises(TypeError, "b must be an array", a, None)
    raises(TypeError, "b must be a plain array", a, np.ma.array(x))
    raises(ValueError, "b must be 1-D or 2-D, got 3-D", a, np.ones((4, 2, 2)))
    raises(TypeError, "b must be numeric, got datetime64", a, np.ones(4, "M8[s]"))
    raises(ValueError, "a must be 1-D or 2-D, got 0-D", 2.0, a)
    raises(ValueError, "a, if sparse, must be 2-D", tersor.csr_array(np.ones(4)), x)
    raises(ValueError, r"must fit, got shapes \(3, 4\) and \(3, 4\)", a, a)
    raises(ValueError, r"must fit, got shapes \(4, 2\) and \(3, 4\)", x, a)
    raises(TypeError, "out must be None where the result is sparse", a, a.T, out=x)
    raises(TypeError, "out must have dtype float32, got float64", a, x, out=np.ones((3, 2)))
    raises(TypeError, "out must be an array, got list", a, x, out=[1])
    raises(ValueError, r"out must have shape \(3, 2\), got \(4, 2\)", a, x, out=x)
    fixed = np.ones((3, 2), np.float32)
    fixed.flags.writeable = False
    raises(ValueError, "out must be writeable", a, x, out=fixed)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_torch(backend):
    torch = pytest.importorskip("torch")
    a, x = random_csr((20, 30)), hostile("normal", (30, 5))
    a.sum_duplicates()
    arrays = (torch.from_numpy(array) for array in (a.indptr, a.indices, a.data))
    t, tx = torch.sparse_csr_tensor(*arrays, a.shape, check_invariants=True), torch.from_numpy(x)
    got = tersor.csr_matmul(t, tx, backend=backend)
    assert_identical(got.numpy(), tersor.csr_matmul(a, x, backend=backend))
    torch.testing.assert_close(got, t.to_dense() @ tx)
    out = torch.zeros(20, 5)
    assert tersor.csr_matmul(t, tx, out=out, backend=backend) is out
    torch.testing.assert_close(out, got)
    left = tersor.csr_matmul(tx.T[:, :20], t, backend=backend)
    torch.testing.assert_close(left, tx.T[:, :20] @ t.to_dense())
    square = tersor.csr_matmul(t, random_csr((30, 6)), backend=backend)
    assert square.layout == torch.sparse_csr and square.shape == (20, 6)
    b = t.to_sparse_csr().to(torch.bfloat16)
    want = (b.to(torch.float32).to_dense() @ tx).numpy()
    assert_close(tersor.csr_matmul(b, tx, backend=backend).numpy(), want)
    y = torch.randn(20, 7), torch.randn(7, 30)
    sampled = tersor.sddmm(t, *y, backend=backend)
    torch.testing.assert_close(sampled, torch.sparse.sampled_addmm(t, *y, beta=0))
    pruned = tersor.to_csr(tx, 0.5, backend=backend)
    assert pruned.layout == torch.sparse_csr
    assert_identical(pruned.to_dense().numpy(), tersor.to_csr(x, 0.5).toarray())
    q = tersor.QuantizedCSR.from_csr(t, backend=backend)
    assert_identical((q @ tx).numpy(), q @ x)
    with pytest.raises(TypeError, match="requires grad"):
        tersor.csr_matmul(t, tx.clone().requires_grad_(), backend=backend)


@pytest.mark.parametrize("dtype", [*FLOATS, np.float16, bfloat16, np.int8])
@pytest.mark.parametrize("k", [0, 1, 7, 300])
def test_sddmm(backend, k, dtype):
    pattern = random_csr((20, 30), 0.4)
    a, b = hostile("normal", (20, k)), hostile("normal", (k, 30))
    a, b = np.round(8 * a).astype(dtype), np.round(8 * b).astype(dtype)
    with unchanged(pattern.data, pattern.indices, pattern.indptr):
        got = tersor.sddmm(pattern, a, b, backend=backend)
    assert type(got) is tersor.csr_array
    assert got.dtype == (np.float64 if dtype in (np.float64, np.int8) else np.float32)
    assert_identical(got.indices, pattern.indices)
    assert_identical(got.indptr, pattern.indptr)
    assert not np.shares_memory(got.indices, pattern.indices)
    rows = np.repeat(np.arange(20), np.diff(pattern.indptr))
    want = (a.astype(np.float64) @ b.astype(np.float64))[rows, pattern.indices]
    np.testing.assert_array_equal(got.data, want)  # integers: exact


def test_sddmm_layouts_and_classes(backend):
    pattern, a, b = random_csr((9, 8)), hostile("normal", (9, 5)), hostile("normal", (5, 8))
    want = tersor.sddmm(pattern, a, b, backend=backend)
    for (name, x), (_, y) in zip(layouts(a), layouts(b), strict=True):
        assert_identical(tersor.sddmm(pattern, x, y, backend=backend).data, want.data), name
    for kind in (sp.csr_array, sp.csr_matrix):
        got = tersor.sddmm(kind(pattern), a, b, backend=backend)
        assert type(got) is kind
        assert_identical(got.toarray(), want.toarray())
    other = tersor.sddmm(sp.coo_array(np.eye(9, 8)), a, b, backend=backend)
    np.testing.assert_allclose(other.toarray(), np.eye(9, 8) * (a @ b), rtol=1e-5)


def test_sddmm_errors(backend):
    pattern = random_csr((3, 4))
    a, b = np.ones((3, 2)), np.ones((2, 4))
    with pytest.raises(TypeError, match="pattern must be a 2-D sparse array, got ndarray"):
        tersor.sddmm(np.ones((3, 4)), a, b, backend=backend)
    with pytest.raises(TypeError, match=r"b must be float16, .* got complex128"):
        tersor.sddmm(pattern, a, b * 1j, backend=backend)
    for x, y in ((a.T, b), (a, b[:1]), (a[0], b), (a, b[:, :3])):
        with pytest.raises(ValueError, match=r"a and b must have shapes \(m, k\) and \(k, n\)"):
            tersor.sddmm(pattern, x, y, backend=backend)


@pytest.mark.parametrize("dtype", [*FLOATS, np.float16, bfloat16, np.int8, bool])
@pytest.mark.parametrize("kind", ["ties", "zeros", "normal", "nan"])
def test_to_csr_converts(backend, kind, dtype):
    w = hostile(kind, (40, 50), dtype)
    w[3] = 0
    wide = w.astype(np.float32) if dtype in (np.float16, bfloat16) else w
    for name, view in layouts(w):
        with unchanged(view):
            got = tersor.to_csr(view, backend=backend)
        assert type(got) is tersor.csr_array and got.has_canonical_format, name
        want = sp.csr_array(wide)
        assert_identical(got.data, want.data)
        assert_identical(got.indices, want.indices)
        assert_identical(got.indptr, want.indptr)


@pytest.mark.parametrize(
    "options", [{"retain_ratio": 0.2}, {"k": 123}, {"threshold": 1.0}, {"k": 0}]
)
@pytest.mark.parametrize("kind", ["ties", "constant", "normal", "zeros"])
def test_to_csr_prunes(backend, kind, options):
    w = hostile(kind, (40, 50))
    got = tersor.to_csr(w, **options, backend=backend)
    assert_identical(got.toarray(), sp.csr_array(tersor.prune(w, **options)).toarray())
    if kind == "constant" and "threshold" not in options:
        k = options.get("k", 400)
        assert_identical(np.flatnonzero(got.toarray()), np.arange(k))


def test_to_csr_errors(backend):
    with pytest.raises(ValueError, match="w must be 2-D, got 1-D"):
        tersor.to_csr(np.ones(3), backend=backend)
    with pytest.raises(TypeError, match=r"w must be float16, .* got complex128"):
        tersor.to_csr(np.ones((3, 3)) * 1j, backend=backend)
    with pytest.raises(TypeError, match=r"w must be dense, got a csr_array: call csr_array\(w\)"):
        tersor.to_csr(sp.csr_array((3, 3)), backend=backend)
    with pytest.raises(ValueError, match="retain_ratio"):
        tersor.to_csr(np.ones((3, 3)), 0.5, k=2, backend=backend)


@pytest.mark.parametrize(
    "columns, dtype",
    [(30, np.float32), (2**16, np.float32), (2**16 + 1, np.float32), (30, np.float64)],
)
def test_quantized(backend, columns, dtype):
    a = random_csr((20, columns), 15 / columns, dtype)
    with unchanged(a.data, a.indices):
        q = tersor.QuantizedCSR.from_csr(a, backend=backend)
    assert q.data.dtype == np.int8 and q.scale.dtype == dtype and q.shape == a.shape
    assert q.indices.dtype == (np.uint16 if columns <= 2**16 else np.int32)
    assert q.nbytes == sum(x.nbytes for x in (q.data, q.indices, q.indptr, q.scale))
    dense = exact(a)
    largest = np.abs(dense).max(axis=1)
    assert_identical(q.scale, np.where(largest > 0, largest.astype(dtype) / dtype(127), dtype(1)))
    assert (np.abs(q.toarray() - dense) <= q.scale[:, None] * 0.50001).all()
    assert q.data.min() >= -127 and q.nnz == q.tocsr().nnz
    values = exact(q.tocsr())
    x, y = hostile("normal", (columns, 20), dtype), hostile("normal", (20, 20), dtype)
    assert_product(q @ x[:, 0], values, x[:, 0], dtype)
    if q.scale.dtype == np.float32 and q.indices.dtype == np.uint16:  # each dtype compiles anew
        assert_product(q @ x, values, x, dtype)
        assert_product(y @ q, y, values, dtype)
        assert_product(y[0] @ q, y[0], values, dtype)


@pytest.mark.parametrize("kind", ["normal", "ties", "zeros", "denormal", "extremes"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_quantized_as_quantize(backend, kind, dtype):
    w = hostile(kind, (30, 20), dtype)
    w[5] = 0
    got = tersor.QuantizedCSR.from_dense(w, backend=backend)
    want = tersor.quantize(w, axis=0)
    assert_identical(got.data, want.data[w != 0])
    np.testing.assert_array_equal(got.scale, want.scale)


def test_quantized_rounds_half_to_even(backend):
    w = np.array([[127, 2.5, 3.5, -2.5, -0.5], [0, 0, 0, 0, 0], [2, 0, -2, 1, 0]], np.float32)
    q = tersor.QuantizedCSR.from_dense(w, backend=backend)
    assert q.data.tolist() == [127, 2, 4, -2, 0, 127, -127, 64]
    assert_identical(q.scale, np.array([1, 1, 2 / 127], np.float32))
    assert q.nnz == 8 and repr(q) == "<QuantizedCSR 3x5, 8 entries, 52 bytes>"
    half = tersor.QuantizedCSR.from_dense(w, 0.2, backend=backend)
    assert half.nnz == 3


def test_quantized_errors(backend):
    q = tersor.QuantizedCSR.from_dense(np.eye(3, 4), backend=backend)
    make = tersor.QuantizedCSR
    parts = {name: getattr(q, name) for name in ("data", "indices", "indptr", "scale", "shape")}
    with pytest.raises(TypeError, match="data must be int8, got float64"):
        make(**parts | {"data": np.ones(3)})
    for shape in (None, 3, [3, 4], (3,), (3, 4, 1), (3, -4)):
        with pytest.raises(TypeError, match=r"shape must be a tuple \(rows, columns\), got"):
            make(**parts | {"shape": shape})
    with pytest.raises(TypeError, match="indptr must be an array, got list"):
        make(**parts | {"indptr": [0, 1, 2, 3]})
    with pytest.raises(TypeError, match="scale must be float32 or float64, got int64"):
        make(**parts | {"scale": np.ones(3, int)})
    with pytest.raises(ValueError, match=r"scale must have shape \(3,\), got \(4,\)"):
        make(**parts | {"scale": np.ones(4)})
    with pytest.raises(ValueError, match="indptr must have 4 entries, got 3"):
        make(**parts | {"indptr": q.indptr[:-1]})
    with pytest.raises(ValueError, match="a must be finite, got NaN or infinity"):
        make.from_dense(np.array([[np.nan]]), backend=backend)
    with pytest.raises(TypeError, match="a must be a 2-D sparse array, got ndarray"):
        make.from_csr(np.eye(3), backend=backend)
    with pytest.raises(ValueError, match="x must have 4 entries along the summed axis, got 3"):
        q @ np.ones(3)
    for call in (lambda: q @ sp.csr_array((4, 2)), lambda: q @ q):
        with pytest.raises(TypeError, match=r"x must be dense, got a .*: multiply q.tocsr\(\)"):
            call()
    with pytest.raises(TypeError, match="a must be floats, got a QuantizedCSR: multiply it by @"):
        tersor.csr_matmul(q, np.ones(4), backend=backend)
    with pytest.raises(ValueError, match="x must be 1-D or 2-D, got 3-D"):
        q @ np.ones((4, 1, 1))
    q.indices[1] = 4
    for call in (lambda: q @ np.ones(4), lambda: np.ones((2, 3)) @ q, q.toarray):
        with pytest.raises(ValueError, match=r"indices must be in 0..3, got 4 at entry 1"):
            call()


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    n=st.integers(0, 70),
    density=st.floats(0, 1),
    dtype=st.sampled_from(FLOATS),
    seed=st.integers(0, 2**32 - 1),
)
def test_products_are_those_of_dense_arrays(shape, n, density, dtype, seed):
    a = random_csr(shape, density, dtype, seed=seed)
    b = random_csr((shape[1], n), density, dtype, seed=seed + 1)
    x = exact(b).astype(dtype)
    terms = shape[1] + a.nnz  # duplicates are terms too
    assert_product(a @ x, a, x, dtype, terms)
    assert_product(x.T @ a.T, x.T, a.T, dtype, terms)
    assert_product((a @ b).toarray(), a, b, dtype, terms * (1 + b.nnz))
    assert_product((b.T @ a.T).toarray(), b.T, a.T, dtype, terms * (1 + b.nnz))
