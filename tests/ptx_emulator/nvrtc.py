"""NVIDIA's runtime compiler and its disassembler from PyPI's wheels: none of them needs a GPU."""

import ctypes
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

# Every generation that CUDA 13 compiles for.
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")


class CompileError(Exception):
    """What the compiler had to say."""


@dataclass(frozen=True)
class Compiled:
    """PTX and machine code of one source for one architecture."""

    ptx: str
    cubin: bytes
    log: str
    lowered: dict[str, str]  # name expression -> symbol


@cache
def toolkit():
    """The folder of the wheels; None where they are not installed."""
    spec = find_spec("nvidia")
    for root in spec.submodule_search_locations if spec else ():
        folder = Path(root) / "cu13"
        if (folder / "lib/libnvrtc.so.13").exists():
            return folder
    return None


@cache
def _library():
    library = ctypes.CDLL(str(toolkit() / "lib/libnvrtc.so.13"))
    library.nvrtcGetErrorString.restype = ctypes.c_char_p
    return library


@cache
def version():
    """The release of the compiler."""
    return next(toolkit().glob("lib/libnvrtc-builtins.so.*")).name


def _check(code):
    if code:
        raise CompileError(_library().nvrtcGetErrorString(code).decode())


def _bytes(program, what):
    """One of the results of a compiled program: nvrtcGet<what>."""
    size = ctypes.c_size_t()
    _check(getattr(_library(), f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(getattr(_library(), f"nvrtcGet{what}")(program, buffer))
    return buffer.raw


def _text(program, what):
    return _bytes(program, what).rstrip(b"\0").decode()


def _lowered(program, expression):
    symbol = ctypes.c_char_p()
    _check(_library().nvrtcGetLoweredName(program, expression.encode(), ctypes.byref(symbol)))
    return symbol.value.decode()


def compile_source(source, arch, *, name="kernel.cu", options=(), expressions=()):
    """Compile CUDA C++ for `arch`; `expressions` are the templates to instantiate."""
    nvrtc, program = _library(), ctypes.c_void_p()
    _check(
        nvrtc.nvrtcCreateProgram(
            ctypes.byref(program), source.encode(), name.encode(), 0, None, None
        )
    )
    try:
        for expression in expressions:
            _check(nvrtc.nvrtcAddNameExpression(program, expression.encode()))
        flags = [f"-arch={arch}", "-lineinfo", "--ptxas-options=-v", *options]
        array = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
        failed = nvrtc.nvrtcCompileProgram(program, len(flags), array)
        log = _text(program, "ProgramLog")
        if failed:
            raise CompileError(log)
        lowered = {expression: _lowered(program, expression) for expression in expressions}
        return Compiled(_text(program, "PTX"), _bytes(program, "CUBIN"), log, lowered)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


@dataclass(frozen=True)
class Usage:
    """What a kernel takes on the chip, as cuobjdump tells it."""

    registers: int
    stack: int
    shared: int
    local: int


def usage(cubin, folder):
    """Usage of each kernel in machine code; `folder` is for a file in between."""
    pattern = r"Function ([\w$]+):\s*REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)"
    found = re.findall(pattern, _run("cuobjdump", ["-res-usage"], cubin, folder))
    return {name: Usage(*map(int, figures)) for name, *figures in found}


def instructions(cubin, folder):
    """The mnemonics of each kernel in machine code, in order."""
    result, current = {}, None
    for line in _run("nvdisasm", ["-c"], cubin, folder).splitlines():
        if section := re.match(r"\s*\.section\s+\.text\.([\w$]+)", line):
            current = result.setdefault(section[1], [])
        elif current is not None and (
            code := re.match(r"\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]+)", line)
        ):
            current.append(code[1])
    return result


def _run(tool, arguments, cubin, folder):
    path = Path(folder) / "kernel.cubin"
    path.write_bytes(cubin)
    command = [str(toolkit() / "bin" / tool), *arguments, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
