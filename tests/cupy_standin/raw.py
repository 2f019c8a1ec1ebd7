"""cupy.RawModule over the PTX emulator."""

from dataclasses import dataclass
from functools import cache
from itertools import count
from types import SimpleNamespace

import numpy as np
from ptx_emulator import Module

from .array import ndarray

# arch: compiled for. seeds: the schedules that launches take in turn; 0 is in order. launches: a
# list to note a Launch for each in, or None. mutant: (name of a kernel, function that edits its
# PTX), or None.
settings = SimpleNamespace(arch="sm_90", seeds=(0, 7, 0, 19), launches=None, mutant=None)
_turn = count()


@dataclass(frozen=True)
class Launch:
    name: str
    grid: tuple
    block: tuple
    shared: int
    traffic: list
    module: Module


@cache
def _compiled(code, options, expressions, arch, change):
    return Module(code, arch, options=options, expressions=expressions, change=change)


class RawModule:
    def __init__(
        self,
        code=None,
        *,
        path=None,
        options=(),
        backend="nvrtc",
        translate_cucomplex=False,
        enable_cooperative_groups=False,
        name_expressions=None,
        jitify=None,
    ):
        self._code, self._options = code, tuple(options)
        self._expressions = tuple(name_expressions or ())

    def get_function(self, name):
        return _Function(self, name)

    def module(self, name):
        """Compiled for the device of the moment, as CuPy does at the first launch."""
        mutant, change = settings.mutant or (None, None)
        change = change if mutant == name else None
        return _compiled(self._code, self._options, self._expressions, settings.arch, change)


class _Function:
    """cupy.RawKernel."""

    max_dynamic_shared_size_bytes = 48 << 10

    def __init__(self, owner, name):
        self._owner, self.name = owner, name

    def __call__(self, grid, block, args, *, shared_mem=0):
        _check_geometry(grid, block)
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise ValueError(f"{shared_mem} bytes of dynamic shared memory: raise the limit first")
        raw = [_bytes(x) for x in args]
        arrays = [x.host for x in args if isinstance(x, ndarray) and x.size]
        memory = [(low, high - low) for low, high in map(np.lib.array_utils.byte_bounds, arrays)]
        seed = settings.seeds[next(_turn) % len(settings.seeds)]
        counting = settings.launches is not None
        module = self._owner.module(self.name)
        traffic = module.launch(
            self.name, grid, block, raw, memory, shared=shared_mem, seed=seed, counting=counting
        )
        if counting:
            note = Launch(self.name, grid, block, shared_mem, traffic, module)
            settings.launches.append(note)


def _check_geometry(grid, block):
    if min(*grid, *block) < 1:
        raise ValueError(f"CUDA_ERROR_INVALID_VALUE: grid {grid}, block {block}")
    if grid[0] >= 2**31 or max((*grid, 1)[1:]) > 65535 or np.prod(block) > 1024:
        raise ValueError(f"CUDA_ERROR_INVALID_VALUE: grid {grid}, block {block}")


def _bytes(x):
    """An argument as CuPy passes it: Python numbers have 64 bits."""
    if isinstance(x, ndarray):
        return np.uint64(x.data.ptr).tobytes()
    if isinstance(x, np.generic):
        return x.tobytes()
    if isinstance(x, (bool, int, float)):
        kind = np.bool_ if isinstance(x, bool) else np.int64 if isinstance(x, int) else np.float64
        return kind(x).tobytes()
    raise TypeError(f"Unsupported type {type(x)}")
