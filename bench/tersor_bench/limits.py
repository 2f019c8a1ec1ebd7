"""What this machine can do: bandwidth of reading and copying, and multiply-adds a second."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tersor_kernels._jit import njit
from tersor_kernels.cpu._parallel import parallel, workers

# What fits which cache differs between machines; the last is far beyond the last cache of any that
# this is likely to run on, and 40 and 67 MB are 1e7 and 4096 x 4096 float32.
_READ = (1_000_000, 10_000_000, 40_000_000, 67_000_000, 256_000_000)  # bytes
_COPIED = 256_000_000
_CHUNK = 32_768  # elements of a block: 256 kB
_SECONDS = 0.1  # for each measurement


@dataclass(frozen=True)
class Limits:
    """The best of several runs at the current number of threads."""

    read: dict[int, float]  # bytes of an array, ascending -> bytes a second, read again and again
    copy: float  # bytes read and written a second, beyond the caches
    flops: float  # float32 operations a second, in NumPy's matrix product

    def least(self, moved: int, flops: int) -> tuple[str, float]:
        """Which limit an op is under, "memory" or "arithmetic", and the seconds it takes there.

        Reading counts as fast as from an array of `moved` bytes, or the next smaller one measured:
        the timed calls, too, find in the caches what the last one has left there.
        """
        size = max((size for size in self.read if size <= moved), default=min(self.read))
        memory, arithmetic = moved / self.read[size], flops / self.flops
        return ("arithmetic", arithmetic) if arithmetic > memory else ("memory", memory)


def measure() -> Limits:
    """Measure the limits; takes a second or two."""
    x = np.ones(max(*_READ, _COPIED) // 8)
    side = 1024
    a = np.ones((side, side), np.float32)
    read = {size: size / _best(_reader(x[: size // 8])) for size in _READ}
    source, out = x[: _COPIED // 8], np.empty(_COPIED // 8)
    copy = _best(lambda: _copy(workers(), source, out))
    product = _best(lambda: a @ a)
    return Limits(read, 2 * out.nbytes / copy, 2 * side**3 / product)


def _reader(x: Any) -> Callable[[], None]:
    sums = np.empty(-(-x.size // _CHUNK))
    _read(workers(), x, sums)
    if sums.sum() != x.size:
        raise RuntimeError(f"the read kernel summed {x.size} ones to {sums.sum()}")
    return lambda: _read(workers(), x, sums)


def _best(call: Callable[[], Any]) -> float:
    call()
    times: list[float] = []
    while len(times) < 7 or sum(times) < _SECONDS:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


@njit(fastmath={"reassoc"})
def _read_block(b: int, x: Any, sums: Any) -> None:
    part = x[b * _CHUNK : (b + 1) * _CHUNK]
    total = 0.0
    for i in range(part.size):
        total += part[i]
    sums[b] = total


@njit
def _copy_block(b: int, x: Any, out: Any) -> None:
    source, target = x[b * _CHUNK : (b + 1) * _CHUNK], out[b * _CHUNK : (b + 1) * _CHUNK]
    for i in range(source.size):
        target[i] = source[i]


@njit
def _read(pool: Any, x: Any, sums: Any) -> None:
    parallel(pool, _read_block, sums.size, (x, sums), x.size)


@njit
def _copy(pool: Any, x: Any, out: Any) -> None:
    parallel(pool, _copy_block, -(-x.size // _CHUNK), (x, out), x.size)
