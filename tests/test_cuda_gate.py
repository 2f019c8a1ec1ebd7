"""Every CUDA kernel compiles for every architecture and keeps what it promises of the chip.

Beside each .cu file lies a .toml file: a [[kernel]] for each of its kernels (of templates, for the
arguments that matter) with

    name       of the kernel, with its template arguments
    registers  of a thread, at most
    uses       patterns of machine instructions that must occur
    double     true if a kernel whose name has no double may compute in float64

No kernel spills registers, has a stack or uses local memory, and no source has warnings.
"""

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

ptx_emulator = pytest.importorskip("ptx_emulator")
if ptx_emulator.missing():
    pytest.skip(ptx_emulator.missing(), allow_module_level=True)

from ptx_emulator import ARCHITECTURES  # noqa: E402
from ptx_emulator.nvrtc import CompileError, compile_source, instructions, usage  # noqa: E402

pytestmark = pytest.mark.emulated

FOLDER = Path(__file__).parents[1] / "kernels/tersor_kernels/cuda"
FILES = sorted(path.name for path in FOLDER.glob("*.cu"))
DISASSEMBLED = ("sm_75", "sm_90", "sm_120")
FLOAT64 = re.compile(r"D(ADD|MUL|FMA|SETP|MNMX)|MUFU\.RCP64H|F2F\.F64|I2F\.F64")


@pytest.fixture
def launch(monkeypatch):
    """The module that puts sources together."""
    import cupy_standin

    cupy_standin.install(monkeypatch)
    from tersor_kernels.cuda import _launch

    return _launch


def promises(file):
    return tomllib.loads((FOLDER / file).with_suffix(".toml").read_text())["kernel"]


@cache
def compiled(source, options, names, arch):
    return compile_source(source, arch, options=options, expressions=names)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("file", FILES)
def test_promises_are_kept(file, arch, launch, tmp_path):
    kernels = promises(file)
    names = tuple(kernel["name"] for kernel in kernels)
    result = compiled(launch.source(file), launch.OPTIONS, names, arch)
    assert complaints(result) == []
    used = usage(result.cubin, tmp_path)
    found = instructions(result.cubin, tmp_path) if arch in DISASSEMBLED else None
    broken = []
    for kernel in kernels:
        symbol = result.lowered[kernel["name"]]
        figures = used[symbol]
        if figures.registers > kernel["registers"]:
            broken.append(f"{kernel['name']}: {figures.registers} registers")
        if figures.stack or figures.local:
            broken.append(f"{kernel['name']}: {figures}")
        if found is not None:
            broken += [f"{kernel['name']}: {what}" for what in _faults(kernel, found[symbol])]
    assert broken == []


def complaints(result):
    """Warnings of the compiler, and kernels that keep registers in memory."""
    found = re.findall(r"^.*: (?:warning|error).*$", result.log, re.M)
    names = {symbol: name for name, symbol in result.lowered.items()}
    figures = r"properties for (\S+)\n.*?(\d+ bytes stack frame, \d+ bytes spill stores, \d+ .*)"
    for symbol, frame in re.findall(figures, result.log):
        if re.search("[1-9]", frame):
            found.append(f"{names.get(symbol, symbol)}: {frame}")
    return found


def _faults(kernel, code):
    """What is wrong with the machine code of a kernel."""
    for pattern in kernel.get("uses", []):
        if not any(re.match(pattern, name) for name in code):
            yield f"no {pattern}"
    if local := [name for name in code if re.match(r"LDL|STL", name)]:
        yield f"local memory: {local[0]}"
    if "double" not in kernel["name"] and not kernel.get("double"):
        if wide := [name for name in code if FLOAT64.match(name)]:
            yield f"float64: {wide[0]}"


@pytest.mark.parametrize("file", FILES)
def test_every_kernel_promises_something(file):
    text = re.sub(r"__launch_bounds__\(\w+\)", "", (FOLDER / file).read_text())
    defined = set(re.findall(r"__global__\s+void\s+(\w+)\(", text))
    assert defined and defined == {kernel["name"].partition("<")[0] for kernel in promises(file)}
    assert all({"name", "registers"} <= set(kernel) for kernel in promises(file))


def test_wrong_code_is_seen(tmp_path):
    with pytest.raises(CompileError, match=r"kernel\.cu\(2\): error: identifier \"y\" is undef"):
        compile_source('extern "C" __global__ void k(float* x) {\n  x[0] = y; }', "sm_90")
    spills = """
extern "C" __global__ void __launch_bounds__(1024) k(float* x) {
  float v[64];
  for (int i = 0; i < 64; i++) v[i] = x[i * 1024 + threadIdx.x];
  for (int r = 0; r < 64; r++)
    for (int i = 0; i < 64; i++) v[i] = v[i] * v[(i + 7) % 64] + v[(i + 31) % 64];
  for (int i = 0; i < 64; i++) x[i * 1024 + threadIdx.x] = v[i];
}"""
    result = compile_source(spills, "sm_90")
    assert len(complaints(result)) == 1 and complaints(result)[0].startswith("k: ")
    code = instructions(result.cubin, tmp_path)["k"]
    assert "local memory: STL" in " ".join(_faults({"name": "k"}, code))
    unused = 'extern "C" __global__ void k(float* x) { int y; x[0] = y; }'
    assert "used before its value is set" in complaints(compile_source(unused, "sm_90"))[0]
    doubles = 'extern "C" __global__ void k(float* x) { x[0] = x[0] * 0.1; }'
    code = instructions(compile_source(doubles, "sm_90").cubin, tmp_path)["k"]
    faults = list(_faults({"name": "k", "uses": ["LDG.*128"]}, code))
    assert faults[0] == "no LDG.*128" and faults[1].startswith("float64")
