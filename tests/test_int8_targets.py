"""The int8 micro-kernels for other CPUs: compiled and read for all, and run where this CPU can."""

import re
import subprocess
import sys

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

from tersor_kernels.cpu._gemm_int8 import emit_sums
from tersor_kernels.cpu._gemm_tiles import TILES, tiles_for
from tersor_kernels.cpu._ir import features as host_features

X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
# CPU, what LLVM is told of it, and what multiplies bytes and nibbles there, of which registers
TARGETS = {
    "avx512vnni": (X86, "cascadelake", "+avx512vnni", "vpdpbusd.*zmm", "vpdpbusd.*zmm"),
    "avxvnni": (X86, "alderlake", "+avxvnni", "vpdpbusd.*ymm", "vpdpbusd.*ymm"),
    "avx512bw": (X86, "skylake-avx512", "+avx512bw", "vpmaddwd.*zmm", "vpmaddubsw.*zmm"),
    "avx2": (X86, "haswell", "+avx2", "vpmaddwd.*ymm", "vpmaddubsw.*ymm"),
    "sdot": (ARM, "neoverse-n1", "+neon,+dotprod", r"sdot\s+v.*16b", r"sdot\s+v.*16b"),
    "portable": (X86, "x86-64", "", "pmaddwd.*xmm", "pmullw.*xmm"),
}
ARM_PORTABLE = (ARM, "cortex-a53", "+neon", r"[su]mull2?\s+v.*4s", r"mul[l2]*\s+v.*8h")


def assembly(tile, height, triple, cpu, features):
    """What LLVM makes of the loop of a micro-kernel."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = ir.Module()
    module.triple = triple
    i64, out = ir.IntType(64), ir.VectorType(ir.IntType(32), tile.lanes).as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [i64, i64, i64, out]), "kernel")
    builder = ir.IRBuilder(function.append_basic_block())
    sums = emit_sums(tile, height, builder, *function.args[:3])
    for i, total in enumerate(total for row in sums for total in row):
        builder.store(total, builder.gep(function.args[3], [i64(i)]), align=1)
    builder.ret_void()
    target = llvm.Target.from_triple(triple)
    machine = target.create_target_machine(cpu=cpu, features=features, opt=3)
    parsed = llvm.parse_assembly(str(module))
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(parsed, passes)
    return machine.emit_assembly(parsed)


@pytest.mark.parametrize("nibbles", [False, True])
@pytest.mark.parametrize("name", [*TARGETS, "portable on ARM"])
def test_instructions(name, nibbles):
    tile = TILES[name.partition(" ")[0]].with_nibbles(nibbles)
    triple, cpu, features, *patterns = TARGETS[name] if name in TARGETS else ARM_PORTABLE
    for height in tile.heights:
        text = assembly(tile, height, triple, cpu, features)
        found = re.findall(patterns[nibbles], text)
        assert len(found) >= height * tile.vectors, text
        assert "call" not in text


@pytest.mark.parametrize("name", TARGETS)
def test_sums_stay_in_registers(name):
    """The loop of the tallest micro-kernel stores nothing."""
    tile = TILES[name]
    triple, cpu, features, *_ = TARGETS[name]
    text = assembly(tile, tile.heights[0], triple, cpu, features)
    loops = re.findall(
        r"^(\.LBB\d+_\d+):(.*?)\n\s+(?:j\w+|b\.\w+|cbnz\s+\w+,)\s+\1\n", text, re.M | re.S
    )
    assert loops, text
    bodies = [body for _, body in loops]
    stores = re.findall(r"\n\s+(?:v?mov\w+\s+%[xyz]mm\d+, .*\(|st[rpu]+\s+q)", "".join(bodies))
    assert not stores, text


FEATURES = {
    "avx2": ("haswell", "+avx,+avx2,+bmi,+bmi2,+cmov,+cx8,+f16c,+fma,+fxsr,+lzcnt,+mmx,+movbe,"
             "+popcnt,+sse,+sse2,+sse3,+sse4.1,+sse4.2,+ssse3,+xsave"),
    "portable": ("generic", ""),
}  # fmt: skip
CODE = """if True:
    import sys
    import numpy as np, tersor
    from tersor_kernels.cpu import matmul_int8
    assert matmul_int8.TILE.name == sys.argv[1], matmul_int8.TILE
    rng = np.random.default_rng(0)
    for m, k, n in ((37, 300, 41), (1, 1000, 70), (100, 64, 300)):
        for a, b in ((-128, 0), (-128, -128)):
            x, y = rng.integers(a, a + 256, (m, k)), rng.integers(b, b + 256, (k, n))
            x[0], y[:, 0] = a, b
            types = [np.int8 if low < 0 else np.uint8 for low in (a, b)]
            got = tersor.matmul_int8(x.astype(types[0]), y.astype(types[1]))
            assert (got == x @ y).all()
    x = rng.integers(-127, 128, (37, 320)).astype(np.float32)
    x[:, 0] = 127
    for dtype, top in (("int8", 127), ("int4", 7)):
        w = rng.integers(-top, top + 1, (40, 320)).astype(np.float32)
        w[:, ::32] = top
        q = tersor.quantize(w, dtype=dtype, block_size=32)
        assert (q.scale == 1).all()
        for activations in ("int8", "float"):
            assert (tersor.linear_int8(x, q, activations=activations) == x @ w.T).all()
"""


@pytest.mark.parametrize("name", ["avx2", pytest.param("portable", marks=pytest.mark.full)])
def test_other_cpus_in_a_fresh_process(name, tmp_path):
    """All code is made for such a CPU, not only the micro-kernel; all that is summed is exact."""
    if TILES[name] not in tiles_for(host_features()):
        pytest.skip(f"this CPU has no {name}")
    cpu, features = FEATURES[name]
    env = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    env["PYTHONPATH"] = ":".join(sys.path)
    subprocess.run([sys.executable, "-c", CODE, name], env=env, check=True)
