"""Which kernels run: the registry of backends, and the way from a user's array to them."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache, wraps
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")


def _is_host(x: object) -> bool:
    return isinstance(x, np.ndarray)


def is_on_gpu(x: object) -> bool:
    """Whether `x` is a CuPy array."""
    # Who holds a CuPy array has imported CuPy, so asking costs nothing where it is absent.
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(x, cupy.ndarray)


def _cuda_available() -> bool:
    if find_spec("cupy") is None:
        return False
    return bool(import_module("cupy").is_available())


@dataclass(frozen=True)
class Backend:
    """A folder of tersor_kernels, and the arrays it works on."""

    name: str
    owns: Callable[[object], bool]
    is_available: Callable[[], bool]


# The first that owns the array wins; backend="reference" forces one.
BACKENDS = (
    Backend("cuda", owns=is_on_gpu, is_available=_cuda_available),
    Backend("cpu", owns=_is_host, is_available=lambda: True),
    Backend("reference", owns=_is_host, is_available=lambda: True),
)


@cache
def _kernel_module(op: str, backend: str) -> ModuleType:
    name = f"tersor_kernels.{backend}.{op}"
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if not name.startswith(error.name or "?"):  # a dependency of the kernels is missing
            raise
        raise NotImplementedError(f"{op} has no kernels on backend {backend!r} yet") from None


def kernels(op: str, x: object, backend: str | None = None) -> Any:
    """The module of `op`'s kernels that works on array `x`; never one that would have to copy it.

    Raises ValueError if `backend` is not a backend or does not own `x`.
    """
    if backend is None and type(x) is np.ndarray:
        return _kernel_module(op, "cpu")
    if not (backend is None or isinstance(backend, str)):
        raise TypeError(f"backend must be None or a str, got {backend!r:.60}")
    for candidate in BACKENDS:
        if backend in (None, candidate.name) and candidate.owns(x):
            return _kernel_module(op, candidate.name)
    if backend is not None and backend not in [candidate.name for candidate in BACKENDS]:
        names = ", ".join(repr(candidate.name) for candidate in BACKENDS)
        raise ValueError(f"backend must be one of {names}, got {backend!r}")
    raise ValueError(f"backend {backend or 'of'!r} does not own a {_describe(x)}: move it yourself")


def _describe(x: object) -> str:
    kind = type(x)
    return f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"


def as_array(x: Any, name: str) -> Any:
    """`x` itself where it is an array of a backend, else NumPy's array of it (lists, scalars).

    Raises TypeError where that would compute or move data unasked, or gives no numbers.
    """
    if type(x) is np.ndarray or is_on_gpu(x):
        return x
    if isinstance(x, np.number):
        return np.asarray(x)
    if isinstance(x, np.ndarray) and type(x) is not np.memmap:
        # A mask or a unit that a kernel would ignore must not be lost without a word.
        raise TypeError(f"{name} must be a plain array, got the subclass {_describe(x)}")
    if _describe(x) == "dask.Array":
        raise TypeError(f"{name} is a lazy dask array: use its map_blocks, or .compute() it first")
    if "torch" in sys.modules and isinstance(x, sys.modules["torch"].Tensor):
        return _from_torch(x)
    if not isinstance(x, (list, tuple, int, float, complex)) and not hasattr(x, "__array__"):
        raise TypeError(f"{name} must be an array or nested lists of numbers, got {_describe(x)}")
    try:
        array = np.asarray(x)
    except ValueError as error:  # ragged lists
        raise ValueError(f"{name} must hold numbers of one shape: {error}") from None
    if array.dtype == object:
        raise TypeError(f"{name} must hold numbers, got {x!r:.60}")
    return array


def beside(x: Any, value: Any) -> Any:
    """`value`, an array or None, on the device of `x`: what the host computed for each scale."""
    if type(x) is np.ndarray or not is_on_gpu(x) or not isinstance(value, np.ndarray):
        return value
    with x.device:
        return sys.modules["cupy"].asarray(value)


def array_function(function: Callable[P, R]) -> Callable[P, R]:
    """Let `function`, written for NumPy and CuPy arrays, take torch tensors and return them.

    Tensors are viewed through DLPack, without a copy, and so are the results. One `isinstance`
    where the first argument is a NumPy array; nothing imports torch.
    """
    first_name = function.__code__.co_varnames[0]

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if (args and type(args[0]) is np.ndarray) or "torch" not in sys.modules:
            return function(*args, **kwargs)
        Tensor = sys.modules["torch"].Tensor
        first = args[0] if args else kwargs.get(first_name)
        if not any(isinstance(leaf, Tensor) for leaf in _leaves(first)):
            return function(*args, **kwargs)
        taken = _map_arrays(_from_torch, args)
        options = _map_arrays(_from_torch, kwargs)
        result: Any = function(*taken, **options)
        views, given = (*taken, *options.values()), (*args, *kwargs.values())
        # `out` itself where the function returned it.
        tensors = [tensor for view, tensor in zip(views, given, strict=True) if view is result]
        out: Any = tensors[0] if tensors else _map_arrays(_to_torch, result)
        return out  # type: ignore[no-any-return]

    return call


def _leaves(tree: Any) -> Iterable[Any]:
    if isinstance(tree, (list, tuple, dict)):
        for item in tree.values() if isinstance(tree, dict) else tree:
            yield from _leaves(item)
    elif is_dataclass(tree) and not isinstance(tree, type):
        yield from (getattr(tree, f.name) for f in fields(tree))
    else:
        yield tree


def _map_arrays(convert: Callable[[Any], Any], tree: Any) -> Any:
    """`tree` with `convert` applied to each leaf of its tuples, lists, dicts and dataclasses."""
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(_map_arrays(convert, item) for item in tree))
    if isinstance(tree, (list, tuple)):
        return type(tree)(_map_arrays(convert, item) for item in tree)
    if isinstance(tree, dict):
        return {key: _map_arrays(convert, item) for key, item in tree.items()}
    if is_dataclass(tree) and not isinstance(tree, type):
        values = {f.name: _map_arrays(convert, getattr(tree, f.name)) for f in fields(tree)}
        return replace(tree, **values)
    return convert(tree)


def _from_torch(x: Any) -> Any:
    torch = sys.modules["torch"]
    if not isinstance(x, torch.Tensor):
        return x
    if x.requires_grad:
        raise TypeError(
            "the tensor requires grad, which NumPy-style calls would lose: .detach() it"
        )
    if x.device.type == "cuda":
        return import_module("cupy").from_dlpack(x)
    if x.device.type != "cpu" or x.layout != torch.strided:
        raise TypeError(f"tensors must be dense on cpu or cuda, got {x.layout} on {x.device}")
    if x.dtype == torch.bfloat16:  # DLPack's bfloat16 has no NumPy dtype
        return np.from_dlpack(x.view(torch.uint16)).view(import_module("ml_dtypes").bfloat16)
    try:
        return np.from_dlpack(x)
    except (RuntimeError, BufferError) as error:  # of dtypes and lazy views that NumPy lacks
        raise TypeError(f"the {x.dtype} tensor can not be seen as an array: {error}") from None


def _to_torch(x: Any) -> Any:
    torch = sys.modules["torch"]
    if isinstance(x, np.generic):
        x = np.asarray(x)
    if isinstance(x, np.ndarray):
        if x.dtype.name == "bfloat16":
            return torch.from_numpy(x.view(np.uint16)).view(torch.bfloat16)
        if x.dtype.name in ("int4", "uint4"):
            raise TypeError(f"torch has no tensors of {x.dtype}: give arrays instead")
        return torch.from_numpy(x)
    return torch.from_dlpack(x) if is_on_gpu(x) else x
