"""CuPy's functions that make arrays."""

import numpy as np

from .array import allocated, calculated, checked, ndarray, transfers, wrapped

PUBLIC = (
    "asarray",
    "ascontiguousarray",
    "asnumpy",
    "broadcast_to",
    "empty",
    "full",
    "may_share_memory",
    "moveaxis",
    "zeros",
)


def empty(shape, dtype=float, order="C"):
    return ndarray(shape, dtype, order=order)


def zeros(shape, dtype=float, order="C"):
    result = ndarray(shape, dtype, order=order)
    result.host.view(np.uint8 if result.dtype.kind == "V" else result.dtype).fill(0)
    return result


def full(shape, fill_value, dtype=None, order="C"):
    result = ndarray(shape, np.asarray(fill_value).dtype if dtype is None else dtype, order=order)
    result.fill(fill_value)
    return result


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    if isinstance(a, ndarray):
        return a if dtype is None else a.astype(dtype, copy=False)
    host = np.asarray(a, dtype)
    checked(host.dtype)
    transfers.to_device += host.nbytes
    return wrapped(allocated(host))


def ascontiguousarray(a, dtype=None):
    a = asarray(a, dtype)
    return a if a.flags.c_contiguous else a.copy()


def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


def broadcast_to(array, shape):
    return calculated(np.broadcast_to, (array, shape), {})


def moveaxis(a, source, destination):
    return calculated(np.moveaxis, (a, source, destination), {})


def may_share_memory(a, b, max_work=None):
    return calculated(np.may_share_memory, (a, b), {})
