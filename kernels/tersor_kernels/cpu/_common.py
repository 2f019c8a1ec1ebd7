"""What several host kernels share."""

import numpy as np

from .._jit import njit

BLOCK = 16384  # elements: 10-20 us of streaming work, so a block in hand costs the others little


@njit(inline="always")
def rows_per_block(n):
    """Rows of `n` elements that make about one BLOCK."""
    return max(1, BLOCK // max(n, 1))


def widened(x):
    """`x` in a dtype that Numba compiles: float16 and bfloat16 as float32."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 else x
