"""torch's CSR tensors as CSR arrays and back, sharing memory."""

import sys
from typing import Any

from ._backends import _from_torch, _to_torch
from ._csr_array import csr_array


def is_tensor(x: Any) -> bool:
    """Whether `x` is a torch tensor; asking does not import torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def to_host(x: Any) -> Any:
    """A tensor as a NumPy array, or as a csr_array if it is a CSR tensor; all else as it is."""
    if not is_tensor(x) or x.layout != sys.modules["torch"].sparse_csr:
        return _from_torch(x) if is_tensor(x) else x
    if x.ndim != 2:
        raise ValueError(f"CSR tensors must be 2-D, got {x.ndim}-D")
    a = csr_array(tuple(x.shape), dtype="float32")
    a.data = _from_torch(x.values())
    a.indices, a.indptr = _from_torch(x.col_indices()), _from_torch(x.crow_indices())
    return a


def csr_to_torch(a: Any) -> Any:
    """A sparse CSR tensor of the arrays of `a`."""
    arrays = (_to_torch(array) for array in (a.indptr, a.indices, a.data))
    return sys.modules["torch"].sparse_csr_tensor(*arrays, a.shape, check_invariants=False)
