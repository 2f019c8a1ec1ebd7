"""`njit` with a cache on disk that can not serve stale code and is never a reason to fail."""

import functools
import hashlib
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
from numba.core.caching import IndexDataCacheFile
from numba.core.compiler_lock import global_compiler_lock
from numba.core.serialize import dumps

# A child forked while another thread compiles would wait for ever to compile: here, fork waits.
os.register_at_fork(
    before=global_compiler_lock.acquire,
    after_in_parent=global_compiler_lock.release,
    after_in_child=global_compiler_lock.release,
)


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


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits for the end: in the midst of compiling, it leaves Numba unable to compile."""
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if is_main else None
    if not callable(handler):  # nothing would be raised here
        yield
        return
    caught: list[Any] = []
    signal.signal(signal.SIGINT, lambda *args: caught.append(args))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if caught:
            handler(*caught[0])


class _CacheFile(IndexDataCacheFile):  # type: ignore[misc]
    """Numba's files, but an entry is served only to the version and key that it was saved for.

    Numba writes the index before the data that it names: who is stopped in between leaves the new
    index beside old data, and two processes that begin together give one file to two functions.
    """

    def save(self, key: Any, data: Any) -> None:
        with suppress(OSError):  # as of a full disk
            super().save(key, (self._version, dumps((key, data))))

    def load(self, key: Any) -> Any:
        with suppress(Exception):  # whatever pickle makes of a damaged file
            version, entry = super().load(key) or (None, None)
            if version == self._version:
                saved_for, data = pickle.loads(entry)
                return data if saved_for == key else None
        return None

    def _load_index(self) -> Any:
        with suppress(Exception):
            return super()._load_index()
        return {}


def njit(
    function: Callable[..., Any] | None = None, /, *, cache: bool = True, **options: Any
) -> Any:
    """`numba.njit` with `error_model="numpy"` and a safe cache.

    Numba's stamp covers the kernel's own file only: after an edit in another file (or an upgrade)
    the old machine code, with the old helper inlined, would keep running. Here it covers all kernel
    sources, as part of the version, which is compared before the rest is read: that could name a
    function that is gone. Where no cache folder is writable, kernels compile once a process.
    The default error model makes a division 9 times slower in cache (it looks for zeros).
    Options that are not given are off: left open, Numba takes fastmath and forceinline from
    whichever function happens to compile this one first, and caches that.
    """
    if function is None:
        return functools.partial(njit, cache=cache, **options)
    options = {"fastmath": False, "forceinline": False, **options}
    dispatcher = numba.njit(function, error_model="numpy", **options)
    dispatcher.compile = _uninterrupted()(dispatcher.compile)
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
    cache_of = dispatcher._cache
    stamp = cache_of._impl.locator.get_source_stamp()
    file = _CacheFile(cache_of.cache_path, cache_of._impl.filename_base, stamp)
    file._version = f"{file._version} {_source_stamp()}"
    cache_of._cache_file = file
    return dispatcher
