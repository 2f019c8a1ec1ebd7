"""Each instruction of the emulator, by what NumPy and Python say."""

from fractions import Fraction

import numpy as np
import pytest
from ml_dtypes import bfloat16

ptx_emulator = pytest.importorskip("ptx_emulator")
if ptx_emulator.missing():
    pytest.skip(ptx_emulator.missing(), allow_module_level=True)

from ptx_emulator.arrays import aligned, compiled, launch  # noqa: E402

pytestmark = pytest.mark.emulated

INTEGERS = [0, 1, 2, 31, 32, 33, 255, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x12345678, 0xCAFEBABE]
FLOAT_BITS = [0, 0x80000000, 1, 0x80000001, 0x3F800000, 0xC0200000, 0x7F800000, 0xFF800000]
FLOAT_BITS += [0x7FC00000, 0x4F000000, 0xCF000001, 0x5F000000, 0x3EFFFFFF, 0x00800000, 0x42FF0000]


def signed(x, bits=32):
    return x - (1 << bits) if x >> (bits - 1) & 1 else x


def field(a, start, length):
    return a >> start & (1 << length) - 1 if length else 0


INTEGER_CASES = {
    "mul.hi.u32 %0, %1, %2;": lambda a, b: a * b >> 32,
    "mul.hi.s32 %0, %1, %2;": lambda a, b: signed(a) * signed(b) >> 32,
    "mad.lo.s32 %0, %1, %2, %1;": lambda a, b: a * b + a,
    "min.s32 %0, %1, %2;": lambda a, b: min(signed(a), signed(b)),
    "max.u32 %0, %1, %2;": lambda a, b: max(a, b),
    "shl.b32 %0, %1, %2;": lambda a, b: 0 if b > 31 else a << b,
    "shr.u32 %0, %1, %2;": lambda a, b: 0 if b > 31 else a >> b,
    "shr.s32 %0, %1, %2;": lambda a, b: signed(a) >> min(b, 31),
    "shf.l.wrap.b32 %0, %1, %2, %1;": lambda a, b: (b << 32 | a) << (a & 31) >> 32,
    "shf.r.clamp.b32 %0, %1, %2, %1;": lambda a, b: (b << 32 | a) >> min(a, 32),
    "prmt.b32 %0, %1, %2, 0x7531;": lambda a, b: int.from_bytes(
        (b << 32 | a).to_bytes(8, "little")[1::2], "little"
    ),
    "lop3.b32 %0, %1, %2, %1, 0xD8;": lambda a, b: _lop3(a, b, a, 0xD8),
    "bfe.u32 %0, %1, 4, 9;": lambda a, b: field(a, 4, 9),
    "bfe.s32 %0, %1, 4, 9;": lambda a, b: signed(field(a, 4, 9), 9),
    "bfi.b32 %0, %1, %2, 3, 7;": lambda a, b: b & ~(127 << 3) | (a & 127) << 3,
    "bfind.u32 %0, %1;": lambda a, b: a.bit_length() - 1,
    "clz.b32 %0, %1;": lambda a, b: 32 - a.bit_length(),
    "popc.b32 %0, %1;": lambda a, b: a.bit_count(),
    "brev.b32 %0, %1;": lambda a, b: int(f"{a:032b}"[::-1], 2),
    "dp4a.s32.u32 %0, %1, %2, %1;": lambda a, b: (
        a + sum(signed(a >> 8 * i & 255, 8) * (b >> 8 * i & 255) for i in range(4))
    ),
    "abs.s32 %0, %1;": lambda a, b: abs(signed(a)),
    "cvt.s32.s8 %0, %1;": lambda a, b: signed(a & 255, 8),
    "cvt.sat.u8.s32 %0, %1;": lambda a, b: min(max(signed(a), 0), 255),
}


def _lop3(a, b, c, table):
    result = 0
    for i in range(32):
        row = (a >> i & 1) << 2 | (b >> i & 1) << 1 | c >> i & 1
        result |= (table >> row & 1) << i
    return result


def rounded_down(a, b, c):
    """a * b + c by fractions, as the next float32 below."""
    if not np.isfinite([a, b, c]).all():
        return np.float32(a * b + c)
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    near = np.float32(float(exact))
    if not np.isfinite(near):
        return near if exact < 0 else np.finfo(np.float32).max
    return near if Fraction(float(near)) <= exact else np.nextafter(near, np.float32(-np.inf))


def rounded_half(x):
    return np.float32(np.float16(x))


FLOAT_CASES = {
    "add.rn.f32 %0, %1, %2;": lambda a, b: a + b,
    "mul.rn.ftz.f32 %0, %1, %2;": lambda a, b: flushed(flushed(a) * flushed(b)),
    "div.rn.f32 %0, %1, %2;": lambda a, b: a / b,
    "min.f32 %0, %1, %2;": lambda a, b: np.fmin(a, b),
    "max.NaN.f32 %0, %1, %2;": lambda a, b: np.maximum(a, b),
    "fma.rn.f32 %0, %1, %2, %1;": lambda a, b: np.float32(
        np.longdouble(a) * np.longdouble(b) + np.longdouble(a)
    ),
    "fma.rm.f32 %0, %1, %2, %1;": lambda a, b: np.vectorize(rounded_down, otypes="f")(a, b, a),
    "sqrt.rn.f32 %0, %1;": lambda a, b: np.sqrt(a),
    "neg.f32 %0, %1;": lambda a, b: -a,
    "abs.f32 %0, %1;": lambda a, b: np.abs(a),
    "cvt.rni.f32.f32 %0, %1;": lambda a, b: np.rint(a),
    "cvt.rmi.f32.f32 %0, %1;": lambda a, b: np.floor(a),
    "{.reg .b16 h; cvt.rn.f16.f32 h, %1; cvt.f32.f16 %0, h;}": lambda a, b: rounded_half(a),
    "{.reg .b16 h; cvt.rn.bf16.f32 h, %1; mov.b32 %0, {0, h};}": lambda a, b: np.float32(
        a.astype(bfloat16)
    ),
}


def flushed(x):
    return np.where(np.abs(x) < np.finfo(np.float32).tiny, np.copysign(np.float32(0), x), x)


def run_instruction(code, a, b, kind):
    """Results of one instruction for each pair, as bits; unsigned operands or floats."""
    letter, c_type = ("r", "unsigned") if kind == "integer" else ("f", "float")
    body = f"""
  if (blockIdx.x * 256 + t >= n) return;
  {c_type} d; const {c_type} a = x[blockIdx.x * 256 + t], b = y[blockIdx.x * 256 + t];
  asm volatile("{code}" : "={letter}"(d) : "{letter}"(a), "{letter}"(b));
  z[blockIdx.x * 256 + t] = d;"""
    parameters = f"const {c_type}* x, const {c_type}* y, {c_type}* z, int n"
    module, z = compiled(body, parameters=parameters), np.zeros_like(a)
    launch(module, "k", (-(-a.size // 256),), (256,), a, b, z, np.int32(a.size))
    return z


@pytest.mark.parametrize("code", INTEGER_CASES)
def test_integer_instructions(code):
    a, b = (x.ravel().astype(np.uint32) for x in np.meshgrid(INTEGERS, INTEGERS))
    got = run_instruction(code, a, b, "integer")
    want = [INTEGER_CASES[code](int(x), int(y)) & 0xFFFFFFFF for x, y in zip(a, b, strict=True)]
    np.testing.assert_array_equal(got, np.array(want, np.uint32))


@pytest.mark.parametrize("code", FLOAT_CASES)
def test_float_instructions(code):
    bits = np.array(FLOAT_BITS, np.uint32).view(np.float32)
    a, b = (x.ravel() for x in np.meshgrid(bits, bits))
    got = run_instruction(code, a, b, "float")
    with np.errstate(all="ignore"):
        want = np.asarray(FLOAT_CASES[code](a, b), np.float32)
    np.testing.assert_array_equal(got, want)
    if code.startswith(("add", "mul", "div", "fma", "sqrt")):
        assert set(got[np.isnan(want)].view(np.uint32)) <= {0x7FFFFFFF}
    if not code.startswith(("min", "max", "fma.rm")):  # whose zeros have signs of their own
        number = ~np.isnan(want)
        np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(want[number]))


CONVERSIONS = {
    "cvt.rni.s32.f32": (np.int32, "r", np.rint),
    "cvt.rzi.u32.f32": (np.uint32, "r", np.trunc),
    "cvt.rmi.s64.f32": (np.int64, "l", np.floor),
}


@pytest.mark.parametrize("code", CONVERSIONS)
def test_conversions_to_integers_saturate(code):
    dtype, letter, rounding = CONVERSIONS[code]
    c_type = {"int32": "int", "uint32": "unsigned", "int64": "long long"}[np.dtype(dtype).name]
    body = f"""if (t >= n) return; {c_type} d;
  asm volatile("{code} %0, %1;" : "={letter}"(d) : "f"(x[t])); y[t] = d;"""
    module = compiled(body, parameters=f"const float* x, {c_type}* y, int n")
    x = np.array([b for b in FLOAT_BITS if b != 0x7FC00000], np.uint32).view(np.float32)
    y, info = np.zeros(x.size, dtype), np.iinfo(dtype)
    launch(module, "k", (1,), (256,), x, y, np.int32(x.size))
    for number, got in zip(x.tolist(), y.tolist(), strict=True):
        want = rounding(number)
        want = want if np.isinf(want) else int(want)
        assert got == min(max(want, info.min), info.max)


@pytest.mark.parametrize("shape", ["m16n8k32", "m16n8k16", "m8n8k16"])
def test_tensor_cores_multiply(shape):
    """With the fragments that the PTX ISA draws: a warp loads them by the documented places."""
    m, k = {"m16n8k32": (16, 32), "m16n8k16": (16, 16), "m8n8k16": (8, 16)}[shape]
    n_a, n_b, n_c = m * k // 128, k // 16, m // 4
    operands = [
        [f"%{i}" for i in range(n_c)],
        [f"%{n_c + i}" for i in range(n_a)],
        [f"%{n_c + n_a + i}" for i in range(n_b)],
    ]
    d, a, b = ("{" + ",".join(x) + "}" for x in operands)
    outs = ", ".join(f'"+r"(d[{i}])' for i in range(n_c))
    ins = ", ".join([f'"r"(a[{i}])' for i in range(n_a)] + [f'"r"(b[{i}])' for i in range(n_b)])
    body = f"""
  const int group = t / 4, member = t % 4, half = {m // 8};
  int d[{n_c}] = {{}}; unsigned a[{n_a}], b[{n_b}];
  for (int i = 0; i < {n_a}; i++)
    a[i] = *(const unsigned*)(x + (group + 8 * (i % half)) * {k} + 4 * member + 16 * (i / half));
  for (int i = 0; i < {n_b}; i++)
    b[i] = *(const unsigned*)(y + group * {k} + 4 * member + 16 * i);
  asm volatile("mma.sync.aligned.{shape}.row.col.s32.s8.s8.s32 {d}, {a}, {b}, {d};"
               : {outs} : {ins});
  for (int i = 0; i < {n_c}; i++) z[(group + 8 * (i / 2)) * 8 + member * 2 + i % 2] = d[i];"""
    module = compiled(body, parameters="const signed char* x, const signed char* y, int* z")
    rng = np.random.default_rng(0)
    x, y = (aligned(rng.integers(-128, 128, (r, k)).astype(np.int8)) for r in (m, 8))
    z = np.zeros((m, 8), np.int32)
    launch(module, "k", (1,), (32,), x, y, z)
    np.testing.assert_array_equal(z, x.astype(np.int32) @ y.T.astype(np.int32))
