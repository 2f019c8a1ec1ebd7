"""Dispatch: the array decides, nothing is moved, torch tensors go in and out without a copy."""

from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest

import tersor
from tersor import _backends
from tersor._backends import as_array, kernels
from tersor.testing import assert_identical

X = np.arange(6.0).reshape(2, 3)


def test_the_array_decides():
    assert kernels("distill", X).__name__ == "tersor_kernels.cpu.distill"
    assert kernels("distill", X, "reference").__name__ == "tersor_kernels.reference.distill"


def test_a_backend_that_does_not_own_the_array_is_refused():
    with pytest.raises(ValueError, match=r"backend 'cuda' does not own a numpy\.ndarray"):
        tersor.softmax(X, backend="cuda")
    with pytest.raises(ValueError, match=r"backend must be one of 'cuda', 'cpu', .*got 'gpu'"):
        tersor.softmax(X, backend="gpu")
    with pytest.raises(TypeError, match="backend must be None or a str, got array"):
        tersor.softmax(X, backend=X)


def test_a_cupy_array_goes_to_cuda(monkeypatch):
    class ndarray(np.ndarray):
        pass

    monkeypatch.setitem(_backends.sys.modules, "cupy", SimpleNamespace(ndarray=ndarray))
    with pytest.raises(NotImplementedError, match="distill has no kernels on backend 'cuda' yet"):
        kernels("distill", X.view(ndarray))


@pytest.mark.parametrize(
    "bad, message",
    [
        ({1: 2}, "x must be an array or nested lists of numbers, got builtins.dict"),
        ([None], "x must hold numbers, got .None"),
        (
            np.ma.masked_array([1.0], [True]),
            "x must be a plain array, got the subclass numpy.Masked",
        ),
        (np.array(["a"]), "x must be float16, bfloat16, float32, float64 or integers, got <U1"),
        (np.array([1j]), "x must be .* got complex128"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(bad, message):
    with pytest.raises(TypeError, match=message):
        tersor.softmax(bad)


def test_ragged_lists_are_refused():
    with pytest.raises(ValueError, match="x must hold numbers of one shape"):
        tersor.softmax([[1, 2], [3]])


def test_lists_scalars_and_memory_maps_are_arrays(tmp_path):
    assert_identical(tersor.softmax([0, 0]), np.array([0.5, 0.5]))
    assert tersor.softmax(3.0) == 1.0
    X.tofile(tmp_path / "x")
    mapped = np.memmap(tmp_path / "x", X.dtype, "r", shape=X.shape)
    assert_identical(tersor.softmax(mapped, axis=1), tersor.softmax(X, axis=1))


def test_as_array_does_not_copy():
    assert as_array(X, "x") is X


class TestTorch:
    @pytest.fixture
    def torch(self):
        return pytest.importorskip("torch")

    def test_tensors_in_tensors_out(self, torch):
        got = tersor.softmax(torch.from_numpy(X), axis=1)
        assert isinstance(got, torch.Tensor)
        assert_identical(got.numpy(), tersor.softmax(X, axis=1))

    def test_no_copy_on_the_way_in_or_out(self, torch):
        seen = {}

        @_backends.array_function
        def function(x, options=()):
            seen["in"] = x.ctypes.data, options[0].ctypes.data
            return (x, np.float32(3))

        x, other = torch.ones(3), torch.ones(2)
        same, scalar = function(x, options=[other])
        assert seen["in"] == (x.data_ptr(), other.data_ptr())
        assert same.data_ptr() == x.data_ptr() and scalar.item() == 3

    def test_bfloat16_there_and_back(self, torch):
        x = torch.randn(4, 5).to(torch.bfloat16)
        got = tersor.softmax(x, axis=1)
        assert got.dtype == torch.bfloat16
        want = tersor.softmax(x.float().numpy().astype(ml_dtypes.bfloat16), axis=1)
        assert_identical(got.float().numpy(), want.astype(np.float32))

    def test_the_first_argument_may_be_named(self, torch):
        got = tersor.softmax(axis=1, x=torch.from_numpy(X))
        assert isinstance(got, torch.Tensor)
        by_array = tersor.prune(w=X, k=2, scores=torch.from_numpy(X))
        assert isinstance(by_array, np.ndarray)

    def test_out_is_returned(self, torch):
        x, out = torch.from_numpy(X), torch.empty(2, 3, dtype=torch.float64)
        assert tersor.prune(x, 0.5, out=out) is out
        assert_identical(out.numpy(), tersor.prune(X, 0.5))
        row = out[0]
        assert tersor.median(x, 0, row) is row

    def test_gradients_are_not_lost_silently(self, torch):
        with pytest.raises(TypeError, match="requires grad"):
            tersor.softmax(torch.ones(3, requires_grad=True))
        with pytest.raises(TypeError, match="requires grad"):
            tersor.prune(X, 0.5, scores=torch.ones(2, 3, requires_grad=True))

    def test_bfloat16_beside_an_array(self, torch):
        got = tersor.prune(X, 0.5, scores=torch.arange(6).reshape(2, 3).to(torch.bfloat16))
        assert_identical(got, tersor.prune(X, 0.5))

    def test_tensors_without_an_array_of_their_kind_are_refused(self, torch):
        for x in (torch.ones(3).to(torch.float8_e5m2), torch.ones(3, dtype=torch.complex64).conj()):
            with pytest.raises(TypeError, match=f"the {x.dtype} tensor can not be seen as an arr"):
                tersor.softmax(x)
        with pytest.raises(TypeError, match="torch has no tensors of int4: give arrays instead"):
            tersor.quantize_linear(torch.ones(3), 1.0, output_dtype="int4")

    def test_sparse_tensors_are_refused(self, torch):
        with pytest.raises(TypeError, match="must be dense on cpu or cuda"):
            tersor.softmax(torch.ones(3, 3).to_sparse())


def test_dask_arrays_are_not_computed_silently():
    da = pytest.importorskip("dask.array")
    with pytest.raises(TypeError, match=r"x is a lazy dask array: .*compute\(\)"):
        tersor.softmax(da.ones(3))
