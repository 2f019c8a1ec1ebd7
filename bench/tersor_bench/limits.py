"""What this machine can do: bandwidth of reading and copying, and multiply-adds a second."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tersor_kernels._jit import njit
from tersor_kernels.cpu._parallel import parallel, workers

_BYTES = 256_000_000  # far beyond the last cache of any machine this is likely to run on
_CHUNK = 32_768  # elements of a block: 256 kB


@dataclass(frozen=True)
class Limits:
    """The best of several runs at the current number of threads."""

    read: float  # bytes a second
    copy: float  # bytes read and written a second
    flops: float  # float32 operations a second, in NumPy's matrix product

    def share(self, seconds: float, moved: int, flops: int | None) -> tuple[str, float]:
        """Which limit an op is under, "memory" or "arithmetic", and the share of it reached."""
        memory = moved / self.read
        arithmetic = (flops or 0) / self.flops
        if arithmetic > memory:
            return "arithmetic", arithmetic / seconds
        return "memory", memory / seconds


def measure() -> Limits:
    """Measure the limits; takes a second or two."""
    x = np.ones(_BYTES // 8)
    out = np.empty_like(x)
    sums = np.empty(-(-x.size // _CHUNK))
    side = 1024
    a = np.ones((side, side), np.float32)
    read = _best(lambda: _read(workers(), x, sums))
    if sums.sum() != x.size:
        raise RuntimeError(f"the read kernel summed {x.size} ones to {sums.sum()}")
    copy = _best(lambda: _copy(workers(), x, out))
    product = _best(lambda: a @ a)
    return Limits(x.nbytes / read, 2 * x.nbytes / copy, 2 * side**3 / product)


def _best(call: Callable[[], Any], repeats: int = 7) -> float:
    call()
    times = []
    for _ in range(repeats):
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
