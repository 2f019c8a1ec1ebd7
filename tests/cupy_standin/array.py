"""Arrays that pretend to be on a device."""

from types import SimpleNamespace

import numpy as np

ALIGNMENT = 512  # of what CuPy's memory pool gives
POISON = 0xA5  # what new memory holds

# Of NumPy's functions, those that are called on CuPy arrays: views, and what takes a kernel.
VIEWS = {"broadcast_to", "expand_dims", "may_share_memory", "moveaxis", "ravel", "reshape"}
VIEWS |= {"swapaxes", "transpose"}
FUNCTIONS = VIEWS | {"concatenate", "full_like", "max", "min", "where", "zeros_like"}
UFUNCS = {"isfinite", "isnan", "isinf", "logical_not", "invert", "bitwise_and", "bitwise_or"}
UFUNCS |= {"absolute", "add", "divide", "maximum", "multiply", "sqrt", "subtract"}
UFUNCS |= {"less", "greater", "less_equal", "greater_equal", "equal", "not_equal", "logical_and"}

# How often a test waited for the device, and the bytes it moved.
transfers = SimpleNamespace(waits=0, to_device=0, to_host=0)


class Missing(TypeError):
    """What CuPy does not have, or the stand-in for it."""


class MemoryPointer:
    """A place in memory that is kept as long as something points to it."""

    def __init__(self, host, ptr):
        self.host, self.ptr = host, ptr

    def __add__(self, offset):
        return MemoryPointer(self.host, self.ptr + offset)


class ndarray:
    """Memory of the device, seen as an array; never turned into a NumPy array unasked."""

    def __init__(self, shape, dtype=float, memptr=None, strides=None, order="C"):
        dtype = checked(dtype)
        if memptr is not None:
            start = memptr.ptr - memptr.host.ctypes.data
            memory = memptr.host.reshape(-1).view(np.uint8)
            self.host = np.ndarray(shape, dtype, memory, start, strides, order)
            return
        size = int(np.prod(shape)) * dtype.itemsize
        memory = np.full(size + ALIGNMENT, POISON, np.uint8)
        start = -memory.ctypes.data % ALIGNMENT
        self.host = memory[start : start + size].view(dtype).reshape(shape, order=order)

    # What it is.
    shape = property(lambda self: self.host.shape)
    dtype = property(lambda self: self.host.dtype)
    ndim = property(lambda self: self.host.ndim)
    size = property(lambda self: self.host.size)
    itemsize = property(lambda self: self.host.itemsize)
    nbytes = property(lambda self: self.host.nbytes)
    strides = property(lambda self: self.host.strides)
    T = property(lambda self: wrapped(self.host.T))

    @property
    def flags(self):
        theirs = self.host.flags
        return SimpleNamespace(
            c_contiguous=theirs.c_contiguous,
            f_contiguous=theirs.f_contiguous,
            owndata=theirs.owndata,
        )

    @property
    def data(self):
        return MemoryPointer(self.host, self.host.ctypes.data)

    @property
    def device(self):
        from .cuda import Device

        return Device(0)

    # To and from the host.
    def __array__(self, dtype=None):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def get(self, stream=None, order="C", out=None, blocking=True):
        transfers.waits += 1
        transfers.to_host += self.nbytes
        return self.host.copy(order)

    def set(self, arr, stream=None):
        transfers.to_device += self.nbytes
        self.host[...] = arr

    def item(self):
        return self.get().item()

    def __bool__(self):
        return bool(self.item())

    def __int__(self):
        return int(self.item())

    def __float__(self):
        return float(self.item())

    def __len__(self):
        return len(self.host)

    def __repr__(self):
        return f"device array({self.host!r})"

    # Views and copies.
    def reshape(self, *shape, order="C", copy=None):
        result = self.host.reshape(*shape, order=order)
        if not np.may_share_memory(result, self.host):
            computes(self.dtype)
        return wrapped(result)

    def ravel(self, order="C"):
        return wrapped(self.host.ravel(order))

    def view(self, dtype=None, type=None):
        return wrapped(self.host.view(checked(dtype)))

    def transpose(self, *axes):
        return wrapped(self.host.transpose(*axes))

    def swapaxes(self, axis1, axis2):
        return wrapped(self.host.swapaxes(axis1, axis2))

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        dtype = checked(dtype)
        if dtype == self.dtype and not copy:
            return self
        computes(self.dtype, dtype)
        return wrapped(allocated(self.host.astype(dtype)))

    def copy(self, order="C"):
        if not self.host.flags.c_contiguous:
            computes(self.dtype)
        return wrapped(allocated(self.host.copy(order)))

    def fill(self, value):
        computes(self.dtype)
        self.host.fill(value)

    def all(self, axis=None, out=None, keepdims=False):
        return wrapped(allocated(np.asarray(self.host.all(axis, keepdims=keepdims))))

    def any(self, axis=None, out=None, keepdims=False):
        return wrapped(allocated(np.asarray(self.host.any(axis, keepdims=keepdims))))

    def min(self, axis=None, out=None, keepdims=False):
        computes(self.dtype)
        return wrapped(allocated(np.asarray(self.host.min(axis, keepdims=keepdims))))

    def max(self, axis=None, out=None, keepdims=False):
        computes(self.dtype)
        return wrapped(allocated(np.asarray(self.host.max(axis, keepdims=keepdims))))

    def __getitem__(self, key):
        key = unwrapped(key)
        if isinstance(key, np.ndarray):
            transfers.waits += 1  # the size of the result has to be known
            return wrapped(self.host[key])
        keys = key if isinstance(key, tuple) else (key,)
        return wrapped(self.host[keys if Ellipsis in keys else (*keys, ...)])  # never a scalar

    def __setitem__(self, key, value):
        if isinstance(value, np.ndarray) and value.ndim:
            raise TypeError(f"Unsupported type {type(value)}")
        if not isinstance(value, ndarray) or not value.host.flags.c_contiguous:
            computes(self.dtype)
        self.host[unwrapped(key)] = unwrapped(value)

    # NumPy's functions on CuPy's arrays.
    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if ufunc.__name__ not in UFUNCS or method != "__call__":
            raise Missing(f"the stand-in has no {ufunc.__name__}")
        return calculated(ufunc, inputs, kwargs)

    def __array_function__(self, function, types, args, kwargs):
        if function.__name__ not in FUNCTIONS:
            raise Missing(f"the stand-in has no {function.__name__}")
        return calculated(function, args, kwargs)

    def __invert__(self):
        return calculated(np.invert, (self,), {})

    def __abs__(self):
        return calculated(np.absolute, (self,), {})


def _operator(ufunc):
    return lambda self, other: calculated(ufunc, (self, other), {})


for _name, _ufunc in {
    "__lt__": np.less,
    "__le__": np.less_equal,
    "__gt__": np.greater,
    "__ge__": np.greater_equal,
    "__eq__": np.equal,
    "__ne__": np.not_equal,
    "__and__": np.bitwise_and,
    "__or__": np.bitwise_or,
    "__lshift__": np.left_shift,
    "__rshift__": np.right_shift,
    "__add__": np.add,
    "__sub__": np.subtract,
    "__truediv__": np.divide,
}.items():
    setattr(ndarray, _name, _operator(_ufunc))
ndarray.__hash__ = None


def calculated(function, args, kwargs):
    """What a NumPy function gives for arrays of the device, on the device."""
    for x in _leaves((args, tuple(kwargs.values()))):
        if isinstance(x, np.ndarray) and x.ndim:
            raise TypeError(f"Unsupported type {type(x)}")
        if isinstance(x, ndarray) and function.__name__ not in VIEWS:
            computes(x.dtype)
    result = function(*unwrapped(args), **unwrapped(kwargs))
    return wrapped(result) if isinstance(result, (np.ndarray, np.generic)) else result


def _leaves(tree):
    if isinstance(tree, (tuple, list)):
        for x in tree:
            yield from _leaves(x)
    else:
        yield tree


def unwrapped(x):
    """Arguments with host arrays in the place of those of the device."""
    if isinstance(x, ndarray):
        return x.host
    if isinstance(x, dict):
        return {name: unwrapped(value) for name, value in x.items()}
    return type(x)(map(unwrapped, x)) if type(x) in (tuple, list) else x


def wrapped(host):
    """An array of the device that shares the memory of a host array."""
    result = ndarray.__new__(ndarray)
    result.host = np.asarray(host)
    return result


def allocated(host):
    """A host array whose memory is aligned as a device's."""
    result = ndarray(host.shape, host.dtype).host
    if host.flags.f_contiguous and not host.flags.c_contiguous:
        result = result.reshape(host.shape[::-1]).T
    result[...] = host
    return result


def checked(dtype):
    """A dtype that CuPy can store."""
    dtype = np.dtype(dtype)
    if not dtype.isnative:
        raise ValueError(f"Unsupported dtype {dtype} with big-endian byte-order")
    if dtype.kind not in "biufcV" or dtype.itemsize > 16 or dtype == np.longdouble:
        raise ValueError(f"Unsupported dtype {dtype}")
    return dtype


def computes(*dtypes):
    """TypeError where CuPy has no kernels for a dtype: it stores bfloat16, and that is all."""
    for dtype in dtypes:
        if dtype.kind == "V":
            raise Missing(f"CuPy has no kernels for {dtype}")
