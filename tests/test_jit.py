"""`njit`: its cache is never stale and never a reason to fail; options are what was written."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[1] / "kernels/tersor_kernels"

HELPER = """
from {njit_from} import njit

@njit
def factor():
    return {factor}
"""
KERNEL = """
from {njit_from} import njit
from .helper import factor

@njit
def scaled(x):
    return factor() * x
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the kernels' shared files with a kernel that calls a helper of another file."""
    folder = tmp_path / "tersor_kernels"
    (folder / "cpu").mkdir(parents=True)
    for name in ("__init__.py", "_jit.py", "cpu/__init__.py"):
        shutil.copy(KERNELS / name, folder / name)

    def write(factor, njit_from=".._jit"):
        (folder / "cpu/helper.py").write_text(HELPER.format(factor=factor, njit_from=njit_from))
        (folder / "cpu/demo.py").write_text(KERNEL.format(njit_from=njit_from))

    write(2)
    return folder, write


def run(folder, code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(folder.parent)} | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


CALL = """
from tersor_kernels.cpu.demo import scaled
print(scaled(10), sum(scaled.stats.cache_hits.values()))
"""


def test_the_cache_is_used(package):
    folder, _ = package
    assert run(folder, CALL) == "20 0"
    assert run(folder, CALL) == "20 1"


def test_an_edit_in_another_file_is_seen(package):
    folder, write = package
    assert run(folder, CALL) == "20 0"
    write(3)
    assert run(folder, CALL) == "30 0"


def test_numba_alone_would_serve_the_stale_answer(package):
    """The control: if this fails, Numba has learnt to look, and the stamp can go."""
    folder, write = package
    (folder / "plain.py").write_text(
        "from functools import partial\nimport numba\nnjit = partial(numba.njit, cache=True)\n"
    )
    write(2, "..plain")
    assert run(folder, CALL) == "20 0"
    write(3, "..plain")
    assert run(folder, CALL) == "20 1"


CLOSURE = """
from tersor_kernels._jit import njit

def multiplier(factor):
    @njit(cache=False)
    def times(x):
        return factor * x

    @njit
    def twice(x):
        return times(x) + times(x)

    return twice
"""


def test_closures_over_compiled_functions_are_cached_and_told_apart(package):
    folder, _ = package
    (folder / "cpu/closure.py").write_text(CLOSURE)
    call = """
from tersor_kernels.cpu.closure import multiplier
for factor in (2, 3):
    twice = multiplier(factor)
    print(twice(10), sum(twice.stats.cache_hits.values()))
"""
    assert run(folder, call).split() == ["40", "0", "60", "0"]
    assert run(folder, call).split() == ["40", "1", "60", "1"]


def test_no_cache_folder_is_no_error(package, tmp_path):
    folder, _ = package
    nowhere = tmp_path / "file"
    nowhere.write_text("")
    (folder / "cpu/__pycache__").write_text("")  # a file, so no folder can be made, even by root
    environment = {"HOME": str(nowhere), "XDG_CACHE_HOME": str(nowhere), "NUMBA_CACHE_DIR": ""}
    assert run(folder, CALL, **environment) == "20 0"


INHERIT = """
from tersor_kernels._jit import njit

@njit
def compensated(a, b):
    s = a + b
    return (a - (s - (s - a))) + (b - (s - a))  # the rounding error of a + b; 0 if reassociated

@njit(fastmath={"reassoc", "nsz"})
def first_caller(x):
    total = 0.0
    for i in range(x.size):
        total += compensated(1.0, x[i])
    return total
"""


def test_fastmath_is_not_inherited_from_the_first_caller(package):
    folder, _ = package
    (folder / "cpu/inherit.py").write_text(INHERIT)
    call = """
import numpy as np
from tersor_kernels.cpu.inherit import compensated, first_caller
first_caller(np.full(8, 1e-17))
print(compensated(1.0, 1e-17))
"""
    assert run(folder, call) == "1e-17"
    assert run(folder, call) == "1e-17"  # from the cache


TWO = """
from tersor_kernels.cpu.closure import multiplier
two, three = multiplier(2), multiplier(3)
"""


@pytest.fixture
def multipliers(package):
    """A package in which one index serves two functions of the same name and signature."""
    folder, _ = package
    (folder / "cpu/closure.py").write_text(CLOSURE)
    return folder


def test_processes_that_begin_together_do_not_mix_up_their_functions(multipliers):
    # Both read the index before either has written it, and number their data alike.
    begin = f"""{TWO}
from numba.core.caching import IndexDataCacheFile
IndexDataCacheFile._load_index = lambda self: {{}}
"""
    assert run(multipliers, begin + "print(two(10))") == "40"
    assert run(multipliers, begin + "print(three(10))") == "60"
    data = next((multipliers / "cpu/__pycache__").glob("closure.multiplier*.nbc"))
    index = next((multipliers / "cpu/__pycache__").glob("closure.multiplier*.nbi"))
    of_three = data.read_bytes()
    assert run(multipliers, begin + "print(two(10))") == "40"
    saved = index.read_bytes()
    data.write_bytes(of_three)  # the index is of one, the data of the other
    assert index.read_bytes() == saved
    assert run(multipliers, f"{TWO}print(two(10), three(10))") == "40 60"


def test_a_process_stopped_between_index_and_data_leaves_no_stale_code(package):
    folder, write = package
    stopped = """
from numba.core.caching import IndexDataCacheFile
def stop(self, name, data):
    raise KeyboardInterrupt
IndexDataCacheFile._save_data = stop
from tersor_kernels.cpu.demo import scaled
for call in range(3):  # the helper is saved, then the kernel
    try:
        print(call, scaled(10))
    except KeyboardInterrupt:
        pass
"""
    assert run(folder, CALL) == "20 0"
    write(3)
    assert run(folder, stopped) == "2 30"
    assert run(folder, CALL) == "30 0"
    assert run(folder, CALL) == "30 1"


def test_ctrl_c_waits_for_the_compiler(package):
    folder, _ = package
    stopped = """
import signal
from numba.core.compiler import CompilerBase
from tersor_kernels.cpu.demo import scaled
compile_extra = CompilerBase.compile_extra
def stop(*args):
    signal.raise_signal(signal.SIGINT)
    return compile_extra(*args)
CompilerBase.compile_extra = stop
try:
    scaled(10)
except KeyboardInterrupt:
    print(len(scaled.overloads), scaled(10), signal.getsignal(signal.SIGINT).__name__)
"""
    assert run(folder, stopped) == "1 20 default_int_handler"
    assert run(folder, CALL) == "20 1"


@pytest.mark.parametrize("suffix", ["nbc", "nbi"])
def test_a_damaged_file_is_no_error(package, suffix):
    folder, _ = package
    assert run(folder, CALL) == "20 0"
    for path in (folder / "cpu/__pycache__").glob(f"*.{suffix}"):
        path.write_bytes(b"damaged")
    assert run(folder, CALL) == "20 0"
    assert run(folder, CALL) == "20 1"


def test_a_full_disk_is_no_error(package, full_disk):
    folder, _ = package
    with full_disk():
        assert run(folder, CALL, PYTHONDONTWRITEBYTECODE="1") == "20 0"
