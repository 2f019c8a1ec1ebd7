"""CUDA kernels on the CPU: NVRTC's PTX as C++, each thread a fiber, every access checked.

Checked are the bounds and the alignment of global and shared memory, reads of shared memory that
nobody wrote, races in shared and global memory (also between blocks, where fences and atomics have
to order accesses), cp.async in flight, warp operations of lanes that are not there, barriers that
threads of a block miss, the sizes of arguments and the launch bounds. An instruction that is not
known is a NotImplementedError, never a guess.

What it can not tell: times, the errors of the hardware's approximations (they are nearly exact
here), and what the driver's own compiler makes of the PTX.
"""

from .build import missing as _missing
from .module import KernelError as KernelError
from .module import Module as Module
from .module import Traffic as Traffic
from .nvrtc import ARCHITECTURES as ARCHITECTURES
from .nvrtc import toolkit as _toolkit


def missing():
    """What this machine lacks to run kernels, or None."""
    if _toolkit() is None:
        return "the emulator needs the wheels of tersor[emulator]"
    return _missing()
