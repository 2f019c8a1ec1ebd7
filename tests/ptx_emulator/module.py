"""Compiled CUDA C++, ready to be launched on the CPU."""

import ctypes
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from . import build
from .nvrtc import compile_source, version
from .translate import translate


class KernelError(Exception):
    """What a kernel did wrong: where, which thread, what."""


class _Extent(ctypes.Structure):
    _fields_ = [("start", ctypes.c_uint64), ("size", ctypes.c_uint64)]


class _Launch(ctypes.Structure):
    _fields_ = [
        ("kernel", ctypes.c_void_p),
        ("parameters", ctypes.c_void_p),
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("static_shared", ctypes.c_uint32),
        ("dynamic_shared", ctypes.c_uint32),
        ("shared_grain", ctypes.c_uint32),
        ("global_grain", ctypes.c_uint32),
        ("variables", ctypes.c_void_p),
        ("n_variables", ctypes.c_uint32),
        ("allocations", ctypes.c_void_p),
        ("n_allocations", ctypes.c_uint32),
        ("steps", ctypes.c_uint64),
        ("seed", ctypes.c_uint64),
        ("counts", ctypes.c_void_p),
        ("sizes", ctypes.c_void_p),
        ("n_sites", ctypes.c_uint32),
    ]


class _Failure(ctypes.Structure):
    _fields_ = [
        ("site", ctypes.c_uint32),
        ("block", ctypes.c_uint32 * 3),
        ("thread", ctypes.c_uint32),
        ("message", ctypes.c_char * 200),
    ]


@dataclass(frozen=True)
class Traffic:
    """Memory traffic of one source line: warp requests, what they took, the least they could.

    Transactions are sectors of 32 bytes of global memory, wavefronts of shared memory.
    """

    space: str
    file: str
    line: int
    instruction: str
    requests: int
    transactions: int
    ideal: int


class Module:
    """The kernels of one source for one architecture; `change` edits the PTX first."""

    def __init__(self, source, arch, *, name="kernel.cu", options=(), expressions=(), change=None):
        how = {"name": name, "options": options, "expressions": expressions}
        ptx, self.lowered = build.kept(
            repr((source, arch, how, version())), lambda: _compiled(source, arch, how)
        )
        self.arch, self.ptx = arch, change(ptx) if change else ptx
        self._program = translate(self.ptx)
        # The kernels find the runtime's symbols in what is loaded before them.
        self._runtime = ctypes.PyDLL(str(build.runtime()), ctypes.RTLD_GLOBAL)
        self._library = ctypes.PyDLL(str(build.kernels(self._program.source)))

    def entry(self, name):
        """What is known of a kernel, by its symbol or name expression."""
        return self._program.entries[self.lowered.get(name, name)]

    def launch(
        self,
        name,
        grid,
        block,
        arguments,
        memory,
        *,
        shared=0,
        seed=0,
        steps=2**31,
        counting=False,
    ):
        """Run a kernel; the Traffic of each line if `counting`, else an empty list.

        arguments : the bytes of each parameter
        memory : (address, bytes) of all that the kernel may touch
        seed : 0 for threads and blocks in order, else a schedule by this number
        steps : turns of loops after which the kernel counts as endless
        """
        entry = self.entry(name)
        self._check(entry, name, block, arguments)
        buffer = np.zeros(sum(p.size for p in entry.parameters) + 64, np.uint8)
        for parameter, value in zip(entry.parameters, arguments, strict=True):
            end = parameter.offset + parameter.size
            buffer[parameter.offset : end] = np.frombuffer(value, np.uint8)
        sites = self._program.sites
        counts = np.zeros((len(sites) * 2 + 1, 3), np.uint64)
        sizes = np.array([site.size for site in sites] or [0], np.uint8)
        variables, allocations = _extents(entry.variables), _extents(_merged(memory))
        launch = _Launch(
            ctypes.cast(getattr(self._library, entry.symbol), ctypes.c_void_p).value,
            buffer.ctypes.data,
            (ctypes.c_uint32 * 3)(*_three(grid)),
            (ctypes.c_uint32 * 3)(*_three(block)),
            entry.static_shared,
            shared,
            entry.shared_grain,
            entry.global_grain,
            ctypes.addressof(variables),
            len(entry.variables),
            ctypes.addressof(allocations),
            len(allocations),
            steps,
            seed,
            counts.ctypes.data if counting else None,
            sizes.ctypes.data,
            len(sites),
        )
        failure = _Failure()
        if self._runtime.ptx_launch(ctypes.byref(launch), ctypes.byref(failure)):
            site = sites[failure.site]
            raise KernelError(
                f"{failure.message.decode()}, at {site.file}:{site.line} ({site.instruction}), "
                f"block {tuple(failure.block)}, thread {failure.thread}"
            )
        return _traffic(sites, counts) if counting else []

    def _check(self, entry, name, block, arguments):
        threads = int(np.prod(block))
        if entry.max_threads is not None and threads > entry.max_threads:
            raise KernelError(
                f"{name}: {threads} threads, its __launch_bounds__ are {entry.max_threads}"
            )
        if threads > 1024:
            raise KernelError(f"{name}: {threads} threads, a block has 1024 at most")
        if len(arguments) != len(entry.parameters):
            raise KernelError(
                f"{name}: {len(arguments)} arguments, it takes {len(entry.parameters)}"
            )
        for n, (value, parameter) in enumerate(zip(arguments, entry.parameters, strict=True)):
            if len(value) != parameter.size:
                raise KernelError(
                    f"{name}: argument {n} has {len(value)} bytes, it takes {parameter.size}"
                )


def _compiled(source, arch, how):
    result = compile_source(source, arch, **how)
    return result.ptx, result.lowered


def _three(sizes):
    return (*map(int, sizes), 1, 1)[:3]


def _extents(pairs):
    return (_Extent * len(pairs))(*pairs) if pairs else (_Extent * 0)()


def _merged(memory):
    """Sorted extents without overlaps: views of one array share what is known of their bytes."""
    result = []
    for start, size in sorted(memory):
        if result and start <= result[-1][0] + result[-1][1]:
            first, before = result[-1]
            result[-1] = (first, max(before, start + size - first))
        else:
            result.append((start, size))
    return result


def _traffic(sites, counts):
    """Counts of each line of source and kind of instruction."""
    totals = defaultdict(lambda: np.zeros(3, np.int64))
    for n, site in enumerate(sites):
        for space, count in zip(("global", "shared"), counts[2 * n : 2 * n + 2], strict=True):
            if count[0]:
                totals[space, site.file, site.line, site.instruction] += count.astype(np.int64)
    return [Traffic(*key, *map(int, total)) for key, total in totals.items()]
