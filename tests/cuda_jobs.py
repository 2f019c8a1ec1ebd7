"""One call for each way through the CUDA kernels, by stem: what they synchronize, and move.

Tests take the barriers out of the kernels that a job launches, and compare the memory traffic with
what the job has to read and write at least.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

import tersor


@dataclass(frozen=True)
class Job:
    name: str
    call: Callable  # of arrays on the device
    arrays: tuple  # on the host
    passes: int = 1  # how often the first array has to be read
    written: int = 0  # bytes of results
    sectors: float = 1.1  # times the least, at most
    wavefronts: float = 1.05


def normal(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def _quantize(name, x, *, passes=1, wavefronts=1.05, **options):
    call = partial(tersor.quantize, **options)
    return Job(name, call, (x,), passes, x.size, wavefronts=wavefronts)


def _quantize_jobs():
    x, q = normal(48, 4096), np.random.default_rng(1).integers(-127, 128, (48, 4096), np.int8)
    scale, short = np.full(48, 0.1, np.float32), normal(300, 96)
    codes = tersor.QuantizedArray(q, scale, shape=q.shape, axis=0)
    yield _quantize("given scale", x, scale=0.03)
    yield _quantize("rows", x, axis=0)
    yield _quantize("float16 rows", normal(48, 4096, dtype=np.float16), axis=0)
    yield _quantize("blocks of 128", x, block_size=128)
    # Twice the entries, and once a scale for each.
    yield _quantize("columns", x, axis=1, passes=3)
    fitted = {"dtype": "uint8", "symmetric": False}
    yield _quantize("uint8, fitted zero points", x, axis=0, passes=2, **fitted)
    yield _quantize("whole", x, passes=2)
    # Where entries are alike, their atomics wait for one another.
    yield _quantize("percentile", x, method="percentile", passes=3, wavefronts=4)
    yield _quantize("mse, long rows", normal(2, 3000), method="mse", axis=0, passes=82)
    yield _quantize("mse, short rows", short, method="mse", axis=0, passes=82)
    yield Job("fake_quantize", lambda a: tersor.fake_quantize(a, scale=0.03), (x,), 1, x.size * 5)
    yield Job(
        "dequantize",
        lambda data, scale: tersor.dequantize(tersor.QuantizedArray(data, scale, **_shape(codes))),
        (q, scale),
        1,
        q.size * 4,
    )


def _shape(q):
    return {"shape": q.shape, "axis": q.axis, "block_size": q.block_size}


def _reduce_jobs():
    x = normal(48, 4096)
    for name in ("sum", "max", "var", "argmax", "logsumexp"):
        function = getattr(tersor, name)
        yield Job(f"{name} of rows", partial(function, axis=1), (x,), written=48 * 8)
        yield Job(f"{name} of columns", partial(function, axis=0), (x,), written=4096 * 16)
    for shape, axis in [((70000,), 0), ((2, 3000), 1), ((700, 50), 0), ((48, 33), 0)]:
        a = normal(*shape)
        passes = 1 if shape[axis] <= (256 if len(shape) - axis > 1 else 4096) else 2
        yield Job(
            f"cumsum over {axis} of {shape}",
            partial(tersor.cumsum, axis=axis),
            (a,),
            passes,
            a.nbytes,
            sectors=1.5,
        )
    for shape, axis in [((70000,), 0), ((2000, 64), 0), ((300, 100), 1), ((3000, 3), 0)]:
        name = f"sum over {axis} of {shape}"
        yield Job(name, partial(tersor.sum, axis=axis), (normal(*shape),), written=4096)

    for n in (3000, 40_000):  # all of one size: their digits are the same few words
        call = partial(tersor.sum, exact=True)
        yield Job(f"exact sum of {n}", call, (normal(n, dtype=np.float64),), 1, 4096, wavefronts=9)


JOBS = {"quantize": _quantize_jobs, "reduce": _reduce_jobs}
