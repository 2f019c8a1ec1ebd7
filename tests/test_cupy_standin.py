"""The stand-in for CuPy has nothing that CuPy lacks, and refuses what CuPy refuses."""

import inspect
import json
import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

ptx_emulator = pytest.importorskip("ptx_emulator")
if ptx_emulator.missing():
    pytest.skip(ptx_emulator.missing(), allow_module_level=True)

import cupy_standin  # noqa: E402
from cupy_standin import array, cuda, functions, raw  # noqa: E402

import tersor  # noqa: E402

pytestmark = pytest.mark.emulated


@pytest.fixture
def cupy(monkeypatch):
    cupy_standin.install(monkeypatch)
    return cupy_standin.module()


def parameters(text):
    """Names of the parameters in a signature, without types, defaults and self."""
    inside = text[text.index("(") + 1 : text.rindex(")")]
    names = [part.partition("=")[0].partition(":")[0].split() for part in split(inside)]
    return [name[-1] for name in names if name and name[-1] not in ("self", "*", "/")]


def split(text):
    depth, start = 0, 0
    for i, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if c == "," and depth == 0:
            yield text[start:i]
            start = i + 1
    yield text[start:]


# Printed by the real CuPy, which imports without a driver: its signature of each of our names, from
# inspect or, of what is compiled, from the first line of the documentation; null if it has no such.
ASK = """
import inspect, json, operator, sys
import cupy
result = {}
for name in json.load(sys.stdin):
    try:
        value = operator.attrgetter(name)(cupy)
    except AttributeError:
        result[name] = None
        continue
    try:
        result[name] = str(inspect.signature(value)).partition(" ->")[0]
    except (TypeError, ValueError):
        result[name] = (value.__doc__ or "").partition("\\n")[0].partition(" ->")[0]
print(json.dumps(result))
"""


INTERNAL = ("host", "module", "transfers", "ATTRIBUTES")


def ours():
    """Dotted name -> what the stand-in has there."""
    found = {name: getattr(functions, name) for name in functions.PUBLIC}
    found |= {"ndarray": array.ndarray, "RawModule": raw.RawModule}
    for prefix, owner in [
        ("ndarray", array.ndarray),
        ("RawModule", raw.RawModule),
        ("RawKernel", raw._Function),
        ("cuda", cuda),
        ("cuda.Device", cuda.Device),
        ("cuda.Stream", cuda.Stream),
    ]:
        for name, value in vars(owner).items():
            if not name.startswith("_") and name not in (
                "host",
                "module",
                "transfers",
                "ATTRIBUTES",
            ):
                found[f"{prefix}.{name}"] = value
    return found


@pytest.mark.skipif(find_spec("cupy") is None, reason="CuPy is not installed")
def test_names_and_signatures_are_those_of_cupy():
    mine = ours()
    done = subprocess.run(
        [sys.executable, "-c", ASK], input=json.dumps(list(mine)), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    real = json.loads(done.stdout.splitlines()[-1])
    assert [name for name, signature in real.items() if signature is None] == []
    compared = 0
    for name, value in mine.items():
        if (not inspect.isfunction(value) and not inspect.isclass(value)) or "(" not in real[name]:
            continue
        got, want = parameters(str(inspect.signature(value))), parameters(real[name])
        if "args" in "".join(want) or "ndarray" == name:  # CuPy's takes anything: *args
            continue
        assert got == want, name
        compared += 1
    assert compared >= 20


def test_nothing_moves_to_the_host_unasked(cupy):
    x = cupy.asarray(np.ones(3, np.float32))
    with pytest.raises(TypeError, match="Implicit conversion to a NumPy array is not allowed"):
        np.asarray(x)
    for wrong in (lambda: x < np.ones(3), lambda: np.where(x > 0, x, np.ones(3))):
        with pytest.raises(TypeError, match=r"Unsupported type .*ndarray"):
            wrong()
    with pytest.raises(ValueError, match=r"Unsupported dtype .* big-endian"):
        cupy.empty(3, ">f4")
    with pytest.raises(ValueError, match="Unsupported dtype object"):
        cupy.empty(3, object)


def test_bfloat16_is_stored_and_no_more(cupy):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x = cupy.asarray(np.ones((2, 4), bfloat16))
    assert x.view(np.uint16).get().tolist() == [[0x3F80] * 4] * 2
    for wrong in (lambda: x.astype(np.float32), lambda: x[:, ::2].copy(), lambda: x == x):
        with pytest.raises(TypeError, match="CuPy has no kernels for bfloat16"):
            wrong()


SOURCE = """
extern "C" __global__ void __launch_bounds__(64) twice(const float* x, float* y, int n) {
  const int i = blockIdx.x * 64 + threadIdx.x;
  if (i < n) y[i] = 2 * x[i];
}"""


def test_launches_are_checked(cupy):
    twice = cupy.RawModule(code=SOURCE).get_function("twice")
    x, y = cupy.asarray(np.arange(100, dtype=np.float32)), cupy.empty(100, np.float32)
    twice((2,), (64,), (x, y, np.int32(100)))
    np.testing.assert_array_equal(y.get(), 2 * np.arange(100))
    error = ptx_emulator.KernelError
    with pytest.raises(error, match="argument 2 has 8 bytes, it takes 4"):
        twice((2,), (64,), (x, y, 100))
    with pytest.raises(error, match="its __launch_bounds__ are 64"):
        twice((1,), (128,), (x, y, np.int32(100)))
    with pytest.raises(error, match="out of bounds"):
        twice((2,), (64,), (x, y[:99], np.int32(100)))
    with pytest.raises(ValueError, match="INVALID_VALUE"):
        twice((0,), (64,), (x, y, np.int32(100)))
    with pytest.raises(ValueError, match="raise the limit"):
        twice((1,), (64,), (x, y, np.int32(100)), shared_mem=50000)
    with pytest.raises(TypeError, match="Unsupported type"):
        twice((1,), (64,), (x.get(), y, np.int32(100)))


def test_new_memory_is_poisoned(cupy):
    assert set(cupy.empty(5, np.uint8).get()) == {array.POISON}
    assert cupy.empty(5, np.uint8).data.ptr % array.ALIGNMENT == 0


def test_how_often_the_device_is_waited_for(cupy):
    """Once for the number of NaN, once for what has to be looked at before it is used; no more."""
    x = cupy.asarray(np.linspace(-1, 1, 4000, dtype=np.float32).reshape(4, 1000))
    waits, q = [], tersor.quantize(x, scale=0.1)
    for call in (
        lambda: tersor.quantize(x, axis=0),
        lambda: tersor.quantize(x, scale=0.1),
        lambda: tersor.fake_quantize(x, scale=0.1),
        lambda: tersor.dequantize(q),
    ):
        before = array.transfers.waits
        call()
        waits.append(array.transfers.waits - before)
    assert waits == [2, 1, 0, 0]


def test_results_stay_on_the_device(cupy):
    x = cupy.asarray(np.linspace(-1, 1, 40, dtype=np.float32).reshape(4, 10))
    q = tersor.quantize(x, axis=0, dtype="uint8", symmetric=False)
    for part in (q.data, q.scale, q.zero_point, q.dequantize(), *tersor.fake_quantize(x)):
        assert isinstance(part, cupy.ndarray)
    assert all(isinstance(part, cupy.ndarray) for part in tersor.dynamic_quantize_linear(x))
    with pytest.raises(ValueError, match="backend 'cpu' does not own a cupy"):
        tersor.quantize(x, backend="cpu")


def test_patterns_of_signatures():
    assert parameters("f(self, a, b=(1, 2), *, str c=None, d: 'X[int, str]' = 3)") == list("abcd")
    assert re.fullmatch(r"\w+", parameters("(shape: '_Shape', dtype: 'D' = <class 'float'>)")[1])
