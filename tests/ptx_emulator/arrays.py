"""Short ways for tests: kernels of a few lines, on NumPy's arrays."""

import numpy as np

from .module import Module


def aligned(x, to=256):
    """A copy of an array that starts where CuPy's would."""
    memory = np.zeros(x.nbytes + to, np.uint8)
    start = -memory.ctypes.data % to
    result = memory[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
    result[...] = x
    return result


def launch(module, name, grid, block, *arguments, **options):
    """Run with NumPy's arrays and numbers; the arrays are changed in place."""
    arrays = [a for a in arguments if isinstance(a, np.ndarray)]
    raw = [
        np.uint64(a.ctypes.data).tobytes() if isinstance(a, np.ndarray) else a.tobytes()
        for a in arguments
    ]
    memory = [(a.ctypes.data, a.nbytes) for a in arrays]
    return module.launch(name, grid, block, raw, memory, **options)


def compiled(body, arch="sm_90", parameters="const float* x, float* y"):
    """A kernel `k` of at most 256 threads; `t` is the number of the thread."""
    source = f"""
extern "C" __global__ void __launch_bounds__(256) k({parameters}) {{
  const int t = threadIdx.x;
  {body}
}}"""
    return Module(source, arch)
