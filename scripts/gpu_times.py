"""Times of the CUDA kernels, beside those of CuPy's own where it has some; for scripts/gpu_check.

Each call is timed by events, after a warm-up and a write that empties the L2 cache; printed are the
median of 20, and the bytes that have to move at least over it.
"""

import statistics
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / name) for name in ("pyapi", "kernels")]

import cupy  # noqa: E402

import tersor  # noqa: E402

ROWS, COLUMNS = 8192, 8192
FLUSH = 256 << 20  # bytes, more than any L2


def cases():
    """(name, ours, CuPy's or None, bytes)."""
    x = cupy.asarray(np.random.default_rng(0).standard_normal((ROWS, COLUMNS), np.float32))
    size, q = x.nbytes, tersor.quantize(x, axis=0)
    yield "quantize rows", lambda: tersor.quantize(x, axis=0), None, size * 5 // 4
    yield "quantize given scale", lambda: tersor.quantize(x, scale=0.03), None, size * 5 // 4
    yield "dequantize", lambda: tersor.dequantize(q), None, size * 5 // 4
    for name in ("sum", "max", "argmax", "var"):
        for axis in (None, 0, 1):
            ours, theirs = getattr(tersor, name), getattr(cupy, name)
            yield (
                f"{name} over {axis}",
                lambda f=ours, axis=axis: f(x, axis=axis),
                lambda f=theirs, axis=axis: f(x, axis=axis),
                size,
            )
    yield "cumsum", lambda: tersor.cumsum(x, axis=1), lambda: cupy.cumsum(x, axis=1), 2 * size


def seconds(call, flush):
    """Median of 20."""
    times = []
    for turn in range(22):
        flush.fill(turn % 2)
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(start, end) / 1e3)
    return statistics.median(times[2:])


def main():
    flush = cupy.empty(FLUSH, np.uint8)
    print(f"{'float32 (8192, 8192)':28}{'us':>10}{'GB/s':>8}{'CuPy us':>10}{'ratio':>7}")
    for name, ours, theirs, size in cases():
        mine = seconds(ours, flush)
        line = f"{name:28}{mine * 1e6:10.1f}{size / mine / 1e9:8.0f}"
        if theirs is not None:
            other = seconds(theirs, flush)
            line += f"{other * 1e6:10.1f}{other / mine:7.2f}"
        print(line)


if __name__ == "__main__":
    main()
