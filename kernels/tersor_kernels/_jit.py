"""`njit` with a cache on disk that can not serve stale code and is never a reason to fail."""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
from numba.core.serialize import dumps


@functools.cache
def _source_stamp() -> str:
    """Hash of every source a kernel could have inlined or taken a constant from."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _contents(value: Any) -> Any:
    """What tells a function from others of its name, or their cells: the same in every process."""
    function = getattr(value, "py_func", value)
    if isinstance(function, FunctionType):
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
        code = function.__code__
        place = function.__module__, function.__qualname__, code.co_firstlineno, code.co_code
        return *place, *map(_contents, cells)
    return dumps(value)


def njit(
    function: Callable[..., Any] | None = None, /, *, cache: bool = True, **options: Any
) -> Any:
    """`numba.njit` with `error_model="numpy"` and a safe cache.

    Numba's stamp covers the kernel's own file only: after an edit in another file (or an upgrade)
    the old machine code, with the old helper inlined, would keep running. Here it covers all kernel
    sources, as part of the version, which Numba compares before it reads the rest: that could name
    a function that is gone. Where no cache folder is writable, kernels compile once a process.
    The default error model makes a division 9 times slower in cache (it looks for zeros).
    Options that are not given are off: left open, Numba takes fastmath and forceinline from
    whichever function happens to compile this one first, and caches that.
    """
    if function is None:
        return functools.partial(njit, cache=cache, **options)
    options = {"fastmath": False, "forceinline": False, **options}
    dispatcher = numba.njit(function, error_model="numpy", **options)
    if not cache:
        return dispatcher
    try:
        dispatcher.enable_caching()
    except RuntimeError:  # "cannot cache function: no locator available"
        return dispatcher
    # Numba's key holds the pickles of a closure's cells: of compiled functions, a random number.
    dispatcher._cache._index_key = lambda signature, codegen: (
        signature,
        codegen.magic_tuple(),
        hashlib.sha256(repr(_contents(function)).encode()).hexdigest(),
    )
    file = dispatcher._cache._cache_file
    file._version = f"{file._version} {_source_stamp()}"
    return dispatcher
