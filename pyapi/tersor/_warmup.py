"""The calls that make the kernels compile which most programs use."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import tersor


def calls() -> Iterator[Callable[[], Any]]:
    """What to call: float32 and float64, along rows, columns and whole arrays."""
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        # Large enough that no call takes NumPy's way for small inputs.
        x: Any = rng.standard_normal((512, 600)).astype(dtype)
        for op in (tersor.sum, tersor.mean, tersor.var, tersor.max, tersor.min, tersor.argmax):
            for axis in (None, 0, 1):
                yield partial(op, x, axis=axis)
        yield partial(tersor.top_k, x, 8)
        yield partial(tersor.median, x)
        yield partial(tersor.prune, x, 0.3)
        yield partial(tersor.prune, x, 0.3, axis=1)
        yield partial(tersor.prune, x, pattern="2:4")
        yield partial(tersor.quantize, x)
        yield partial(tersor.quantize, x, block_size=64)
        yield tersor.quantize(x, axis=0).dequantize
        sparse = tersor.to_csr(x, 0.1)
        yield partial(tersor.csr_matmul, sparse, x.T)
        yield partial(tersor.csr_matmul, sparse, x[0])
        yield partial(tersor.softmax, x, axis=1)
        yield partial(tersor.log_softmax, x, axis=1)
        yield partial(tersor.distillation_loss, x, 2 * x)
    w = tersor.quantize(rng.standard_normal((600, 600)).astype(np.float32), axis=0)
    for rows in (1, 64):
        yield partial(tersor.linear_int8, rng.standard_normal((rows, 600)).astype(np.float32), w)
    yield partial(tersor.matmul_int8, w.data, w.data)
