"""How many threads the host kernels use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tersor_kernels.cpu import _parallel

from ._arguments import as_index


def get_num_threads() -> int:
    """Threads that one call may use, the caller's own included."""
    return int(_parallel.get_num_threads())


def set_num_threads(n: int) -> None:
    """Let every call use up to `n` threads, for the whole process. Results do not depend on it.

    The default is the number of CPUs this process may run on. TypeError where `n` is no int,
    ValueError where it is below 1 or above the number that the kernels' pool can hold.
    """
    if not 1 <= (n := as_index(n, "n")) <= _parallel.MAX_THREADS:
        raise ValueError(f"n must be in 1..{_parallel.MAX_THREADS}, got {n}")
    _parallel.set_num_threads(n)


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """`with num_threads(n):` sets the number of threads, for the whole process, and restores it."""
    before = get_num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(before)
