"""The emulator of CUDA kernels: right kernels run, and each way to be wrong is seen."""

import numpy as np
import pytest

ptx_emulator = pytest.importorskip("ptx_emulator")
if ptx_emulator.missing():
    pytest.skip(ptx_emulator.missing(), allow_module_level=True)

from ptx_emulator import KernelError, Module  # noqa: E402
from ptx_emulator.arrays import aligned, compiled, launch  # noqa: E402
from ptx_emulator.mutants import mutants  # noqa: E402
from ptx_emulator.nvrtc import toolkit  # noqa: E402

pytestmark = pytest.mark.emulated

ARCHS = ["sm_75", "sm_90", "sm_120"]
SEEDS = (0, 1, 2)
BLOCK = 256


def values(n=BLOCK, seed=0):
    return np.random.default_rng(seed).standard_normal(n).astype(np.float32)


# What is wrong must be seen.

WRONG = {
    "threads wait at different barriers": (
        "if (t < 100) __syncthreads(); else { y[t] = 1; __syncthreads(); }",
        "different barriers",
    ),
    "some threads skip a barrier": (
        "__shared__ float s[256]; s[t] = x[t]; if (t < 128) __syncthreads(); y[t] = s[255 - t];",
        "race|uninitialised",
    ),
    "all lanes are asked in half a warp": (
        "float v = x[t]; if (t % 32 < 16) v += __shfl_xor_sync(~0u, v, 8); y[t] = v;",
        "not there|deadlock",
    ),
    "a shuffle reads a lane outside its mask": (
        "float v = x[t]; if (t % 32 < 16) v += __shfl_xor_sync(0xffffu, v, 16); y[t] = v;",
        "not in the mask",
    ),
    "a mask without the own lane": (
        "y[t] = __shfl_sync(0x7fffffffu, x[t], 0);",
        "lacks its own lane",
    ),
    "no __syncwarp between lanes": (
        """__shared__ volatile float s[256]; s[t] = x[t]; __syncthreads();
        if (t < 32) { s[t] += s[t + 16]; s[t] += s[t + 8]; } __syncthreads(); y[t] = s[t];""",
        "shared-memory race",
    ),
    "a shuffle is no barrier of memory": (
        """__shared__ float s[256]; s[t] = x[t];
        const float v = __shfl_xor_sync(~0u, x[t], 1); y[t] = v + s[t ^ 1];""",
        "shared-memory race|uninitialised",
    ),
    "a shared array is too short": (
        "__shared__ float s[255]; s[t] = x[t]; __syncthreads(); y[t] = s[0];",
        "beside every __shared__",
    ),
    "the neighbour of a shared array": (
        """__shared__ float a[256], b[256]; a[t] = x[t]; b[t] = x[t]; __syncthreads();
        y[t] = a[t + 1] + b[t];""",
        "beside every __shared__|uninitialised",
    ),
    "output off by one": ("y[t + 1] = x[t];", "global access out of bounds"),
    "input off by one": ("y[t] = x[t + 1];", "global access out of bounds"),
    "shared memory nobody wrote": (
        "__shared__ float s[256]; if (t < 200) s[t] = x[t]; __syncthreads(); y[t] = s[t];",
        "uninitialised shared memory",
    ),
    "a float4 that is not aligned": (
        "const float4 v = *(const float4*)(x + 1); y[t] = v.x + v.y + v.z + v.w;",
        "16 bytes is misaligned",
    ),
    "a histogram without atomics": (
        """__shared__ int s[16]; if (t < 16) s[t] = 0; __syncthreads(); s[t & 15] += 1;
        __syncthreads(); y[t] = s[t & 15];""",
        "shared-memory race",
    ),
    "atomics read too early": (
        """__shared__ int s[1]; if (t == 0) s[0] = 0; __syncthreads(); atomicAdd(s, 1);
        y[t] = *(volatile int*)s;""",
        "unordered atomic|write after unordered read",
    ),
    "a buffer is filled again too early": (
        """__shared__ float s[256]; float sum = 0; for (int i = 0; i < 2; i++) {
        s[t] = x[t] + i; __syncthreads(); sum += s[255 - t]; } y[t] = sum;""",
        "shared-memory race",
    ),
    "neighbours write one another's output": (
        "y[t] = x[t]; y[(t + 1) % 256] = x[t];",
        "global-memory race",
    ),
    "the input is the output": (
        "y[t] = 1; __syncwarp(); y[t] += y[(t + 32) % 256];",
        "global-memory race",
    ),
    "endless": ("while (*(volatile const float*)x != 7.5f) {} y[t] = 1;", "does not end"),
    "a trap": ("if (t == 77) __trap();", "trap"),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("arch", ["sm_90", pytest.param("sm_120", marks=pytest.mark.full)])
def test_what_is_wrong_is_seen(what, arch):
    body, message = WRONG[what]
    module = compiled(body, arch)
    for seed in SEEDS:
        with pytest.raises(KernelError, match=message) as error:
            y = np.zeros(BLOCK, np.float32)
            launch(module, "k", (1,), (BLOCK,), values(), y, seed=seed, steps=10**6)
        assert "kernel.cu:" in str(error.value) or "deadlock" in str(error.value)


def test_lanes_that_have_ended():
    module = compiled("if (t % 32 == 7) return; y[t] = __ballot_sync(~0u, x[t] > 0);")
    with pytest.raises(KernelError, match=r"lane 7, which is not there|deadlock"):
        launch(module, "k", (1,), (BLOCK,), values(), values())
    module = compiled("y[t] = __ballot_sync(~0u, x[t] > 0);")
    with pytest.raises(KernelError, match="lane 16, which is not there"):
        launch(module, "k", (1,), (48,), values(), values())


def test_dynamic_shared_memory_ends():
    body = "extern __shared__ float s[]; s[t] = x[t]; __syncthreads(); y[t] = s[255 - t];"
    module, x, y = compiled(body), values(), np.zeros(BLOCK, np.float32)
    launch(module, "k", (1,), (BLOCK,), x, y, shared=1024)
    np.testing.assert_array_equal(y, x[::-1])
    with pytest.raises(KernelError, match="out of bounds"):
        launch(module, "k", (1,), (BLOCK,), x, y, shared=1020)


def test_blocks_race_for_global_memory():
    writes = compiled("if (blockIdx.x < 2) y[t] = x[t];")
    reads = compiled("if (blockIdx.x == 0) y[t] = x[t]; else y[t + 256] = y[t];")
    reads_first = compiled("if (blockIdx.x == 1) y[t] = x[t]; else y[t + 256] = y[t];")
    for module in (writes, reads, reads_first):
        for seed in SEEDS:
            with pytest.raises(KernelError, match=r"global-memory race: .* of block"):
                launch(module, "k", (2,), (BLOCK,), values(), values(512), seed=seed)


LAST_BLOCK = """
__shared__ bool last;
if (t == 0) {{ {before} part[blockIdx.x] = x[blockIdx.x]; {writer}
  last = atomicAdd(ticket, 1u) == gridDim.x - 1; }}
__syncthreads();
if (last) {{ {reader} if (t < gridDim.x) y[t] = part[t]; }}"""


@pytest.mark.parametrize(
    "before, writer, reader",
    [("", "", "F"), ("", "F", ""), ("F", "", "F"), ("", "", "")],
)
def test_the_last_block_needs_fences(before, writer, reader):
    x = values(16)
    for parts in ((before, writer, reader), ("", "F", "F")):
        fences = ["__threadfence();" if part else "" for part in parts]
        names = dict(zip(("before", "writer", "reader"), fences, strict=True))
        module = compiled(
            LAST_BLOCK.format(**names),
            parameters="const float* x, float* part, unsigned* ticket, float* y",
        )
        for seed in SEEDS:
            y, part = np.zeros((2, 16), np.float32)
            arguments = x, part, np.zeros(1, np.uint32), y
            if parts == ("", "F", "F"):
                launch(module, "k", (16,), (64,), *arguments, seed=seed)
                np.testing.assert_array_equal(y, x)
            else:
                with pytest.raises(KernelError, match="global-memory race"):
                    launch(module, "k", (16,), (64,), *arguments, seed=seed)


# What is right must run.

RIGHT = {
    "reversed": (
        "__shared__ float s[256]; s[t] = x[t]; __syncthreads(); y[t] = s[255 - t];",
        lambda x: x[::-1],
    ),
    "lanes with __syncwarp": (
        "__shared__ float s[256]; s[t] = x[t]; __syncwarp(); y[t] = s[t ^ 5];",
        lambda x: x[np.arange(256) ^ 5],
    ),
    "bytes of one word": (
        """__shared__ signed char s[256]; s[t] = (signed char)t; __syncthreads();
        y[t] = s[255 - t];""",
        lambda x: np.arange(256).astype(np.int8)[::-1].astype(np.float32),
    ),
    "some threads end early": (
        "y[t] = 0; if (t >= 200) return; __syncthreads(); y[t] = x[t];",
        lambda x: np.where(np.arange(256) < 200, x, 0),
    ),
    "groups of lanes by themselves": (
        """float v = x[t]; if (t % 32 < 16) v = __shfl_xor_sync(0xffffu, v, 3);
        else v = __shfl_xor_sync(0xffff0000u, v, 5); y[t] = v;""",
        lambda x: x[np.arange(256) ^ np.where(np.arange(256) % 32 < 16, 3, 5)],
    ),
    "atomics": (
        """__shared__ int s[8]; if (t < 8) s[t] = 0; __syncthreads(); atomicAdd(&s[t % 8], t);
        __syncthreads(); y[t] = s[t % 8];""",
        lambda x: np.tile(np.arange(256).reshape(32, 8).sum(0), 32).astype(np.float32),
    ),
    "local memory": (
        "float v[8]; for (int i = 0; i < 8; i++) v[i] = x[(t + i) % 256]; y[t] = v[(t * 5) % 8];",
        lambda x: x[(np.arange(256) + np.arange(256) * 5 % 8) % 256],
    ),
}


@pytest.mark.parametrize("what", RIGHT)
@pytest.mark.parametrize("arch", ARCHS)
def test_what_is_right_runs(what, arch):
    body, expected = RIGHT[what]
    module, x = compiled(body, arch), values()
    for seed in SEEDS:
        y = np.zeros(BLOCK, np.float32)
        launch(module, "k", (1,), (BLOCK,), x, y, seed=seed)
        np.testing.assert_array_equal(y, expected(x))


# Each barrier that is taken away must be missed.

PIPELINE = """
extern "C" __global__ void __launch_bounds__(128) k(const float4* x, float4* y, int steps) {
  __shared__ __align__(16) float4 s[2][128];
  const int t = threadIdx.x;
  auto start = [&](int step) {
    const unsigned to = (unsigned)__cvta_generic_to_shared(&s[step & 1][t]);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(x + step * 128 + t));
    asm volatile("cp.async.commit_group;");
  };
  start(0);
  float4 sum = make_float4(0, 0, 0, 0);
  for (int i = 0; i < steps; i++) {
    if (i + 1 < steps) {
      start(i + 1);
      asm volatile("cp.async.wait_group 1;" ::: "memory");
    } else {
      asm volatile("cp.async.wait_group 0;" ::: "memory");
    }
    __syncthreads();
    const float4 v = s[i & 1][127 - t];
    sum.x += v.x; sum.y += v.y; sum.z += v.z; sum.w += v.w;
    __syncthreads();
  }
  y[t] = sum;
}"""

TREE = """
extern "C" __global__ void __launch_bounds__(256) k(const float* x, float* y, int n) {
  __shared__ float s[256], part[8];
  const int t = threadIdx.x, lane = t % 32, warp = t / 32;
  float sum = 0;
  for (int i = t; i < n; i += 256) sum += x[i];
  s[t] = sum;
  __syncwarp();
  if (lane < 16) s[t] += s[t + 16];
  __syncwarp();
  if (lane == 0) { float v = 0; for (int i = 0; i < 16; i++) v += s[t + i]; part[warp] = v; }
  __syncthreads();
  if (t == 0) { float v = 0; for (int i = 0; i < 8; i++) v += part[i]; *y = v; }
}"""

LAST_SUM = """
extern "C" __global__ void __launch_bounds__(64) k(const float* x, float* part, unsigned* ticket,
                                                  float* y) {
  __shared__ bool last;
  __shared__ float s[64];
  const int t = threadIdx.x;
  s[t] = x[blockIdx.x * 64 + t];
  __syncthreads();
  if (t == 0) {
    float v = 0;
    for (int i = 0; i < 64; i++) v += s[i];
    part[blockIdx.x] = v;
    __threadfence();
    last = atomicAdd(ticket, 1u) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  if (last && t == 0) { float v = 0; for (int i = 0; i < gridDim.x; i++) v += part[i]; *y = v; }
}"""


def run_pipeline(module, seed):
    x = aligned(np.arange(4 * 128 * 4, dtype=np.float32).reshape(4, 128, 4))
    y = aligned(np.zeros((128, 4), np.float32))
    launch(module, "k", (1,), (128,), x, y, np.int32(4), seed=seed)
    return (y == x.sum(axis=0)[::-1]).all()


def run_tree(module, seed):
    x, y = np.arange(1000, dtype=np.float32), np.zeros(1, np.float32)
    launch(module, "k", (1,), (256,), x, y, np.int32(1000), seed=seed)
    return y[0] == x.sum()


def run_last_sum(module, seed):
    x, y, part = np.ones(64 * 9, np.float32), np.zeros(1, np.float32), np.zeros(9, np.float32)
    launch(module, "k", (9,), (64,), x, part, np.zeros(1, np.uint32), y, seed=seed)
    return y[0] == x.size


@pytest.mark.parametrize("arch", ["sm_90", "sm_120"])
@pytest.mark.parametrize(
    "source, run, least",
    [(PIPELINE, run_pipeline, 4), (TREE, run_tree, 3), (LAST_SUM, run_last_sum, 4)],
)
def test_every_barrier_is_missed(source, run, least, arch):
    module = Module(source, arch)
    assert all(run(module, seed) for seed in SEEDS)
    found = list(mutants(module.ptx, "k"))
    assert len(found) >= least
    for what, change in found:
        mutant = Module(source, arch, change=change)
        with pytest.raises(KernelError):
            assert run(mutant, 0), what
            pytest.fail(f"nobody misses {what}")


# Independent kernels that are known to be right.

CUB = {
    "reduce": """
#include <cub/block/block_reduce.cuh>
extern "C" __global__ void __launch_bounds__(256) k(const int* x, int* y) {
  using Reduce = cub::BlockReduce<int, 256>;
  __shared__ typename Reduce::TempStorage s;
  const int sum = Reduce(s).Sum(x[threadIdx.x]);
  if (threadIdx.x == 0) *y = sum;
}""",
    "scan": """
#include <cub/block/block_scan.cuh>
extern "C" __global__ void __launch_bounds__(256) k(const int* x, int* y) {
  using Scan = cub::BlockScan<int, 256>;
  __shared__ typename Scan::TempStorage s;
  int v = x[threadIdx.x];
  Scan(s).ExclusiveSum(v, v);
  y[threadIdx.x] = v;
}""",
    "sort": """
#include <cub/block/block_radix_sort.cuh>
extern "C" __global__ void __launch_bounds__(256) k(const int* x, int* y) {
  using Sort = cub::BlockRadixSort<int, 256, 2>;
  __shared__ typename Sort::TempStorage s;
  int v[2] = {x[threadIdx.x * 2], x[threadIdx.x * 2 + 1]};
  Sort(s).Sort(v);
  y[threadIdx.x * 2] = v[0], y[threadIdx.x * 2 + 1] = v[1];
}""",
}


@pytest.mark.parametrize("name", CUB)
def test_blocks_of_cub(name):
    include = toolkit() / "include"
    options = (f"-I{include / 'cccl'}", f"-I{include}")
    module = Module(CUB[name], "sm_90", options=options)
    x = np.random.default_rng(3).integers(-1000, 1000, 512).astype(np.int32)
    x = x if name == "sort" else x[:256]
    want = {"reduce": x.sum(), "scan": np.cumsum(x) - x, "sort": np.sort(x)}[name]
    for seed in SEEDS:
        y = np.zeros(1 if name == "reduce" else x.size, np.int32)
        launch(module, "k", (1,), (256,), x, y, seed=seed)
        np.testing.assert_array_equal(y, want)


# Arguments, launches, counters.


def test_arguments_and_bounds_are_checked():
    module = compiled("y[t] = x[t] * n;", parameters="const float* x, float* y, int n")
    x, y = values(), values()
    launch(module, "k", (1,), (256,), x, y, np.int32(3))
    with pytest.raises(KernelError, match="argument 2 has 8 bytes, it takes 4"):
        launch(module, "k", (1,), (256,), x, y, np.int64(3))
    with pytest.raises(KernelError, match="2 arguments, it takes 3"):
        launch(module, "k", (1,), (256,), x, y)
    with pytest.raises(KernelError, match=r"512 threads, its __launch_bounds__ are 256"):
        launch(module, "k", (1,), (512,), x, y, np.int32(3))


def test_unknown_instructions_are_refused():
    body = 'unsigned a; asm volatile("mov.u32 %0, %clock;" : "=r"(a)); y[t] = a;'
    with pytest.raises(NotImplementedError, match=r"%clock.*kernel\.cu:4"):
        compiled(body)
    with pytest.raises(NotImplementedError, match="modifiers"):
        compiled("y[t] = __fadd_rz(x[t], 1.0f);")
    with pytest.raises(NotImplementedError, match="barriers"):
        compiled('asm volatile("bar.sync 1, 64;");')


@pytest.mark.parametrize("stride, sectors, wavefronts", [(1, 4, 1), (2, 8, 2), (8, 32, 8)])
def test_counters_of_traffic(stride, sectors, wavefronts):
    body = """__shared__ float s[256]; s[t] = 0; __syncthreads();
if (t < 32)
  y[t] = s[t * n] +
    x[t * n];"""
    module = compiled(body, parameters="const float* x, float* y, int n")
    x, y = aligned(values()), aligned(values())
    traffic = launch(module, "k", (1,), (256,), x, y, np.int32(stride), counting=True)
    (load,) = [t for t in traffic if t.space == "global" and t.instruction.startswith("ld")]
    (bank,) = [t for t in traffic if t.space == "shared" and t.instruction.startswith("ld")]
    assert (load.requests, load.transactions, load.ideal) == (1, sectors, 4)
    assert (bank.requests, bank.transactions, bank.ideal) == (1, wavefronts, 1)
