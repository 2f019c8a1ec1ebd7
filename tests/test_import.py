"""`import tersor` is quick, loads nothing heavy, and shows every name."""

import subprocess
import sys
from pathlib import Path

import pytest

import tersor

ROOT = Path(__file__).parents[1]
HEAVY = ("numba", "scipy", "cupy", "torch", "dask", "ml_dtypes", "matplotlib", "rich")


def fresh(code):
    """What a new interpreter prints, the way a user would start it."""
    path = f"import sys; sys.path[:0] = {[str(ROOT / p) for p in ('pyapi', 'kernels')]}\n"
    command = [sys.executable, "-I", "-c", path + code]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_import_loads_nothing_heavy():
    code = f"import tersor; print(*[m for m in {HEAVY} if m in sys.modules])"
    assert fresh(code) == []


def test_drop_in_numpy_loads_nothing_heavy():
    code = f"import tersor.numpy; print(*[m for m in {HEAVY} if m in sys.modules])"
    assert fresh(code) == []


def test_import_takes_under_100_ms_beyond_numpys():
    code = """import numpy, time
start = time.perf_counter()
import tersor
print(time.perf_counter() - start)"""
    assert min(float(fresh(code)[0]) for _ in range(3)) < 0.1


def test_dir_and_star_show_every_name():
    assert {*tersor.__all__, "numpy", "mlp", "compress", "testing"} <= set(dir(tersor))
    names = {}
    exec("from tersor import *", names)
    assert set(tersor.__all__) - {"__version__"} <= set(names)


@pytest.mark.parametrize(
    "first",
    ["import tersor.prune", "from tersor.prune import prune_mask", "tersor.prune_mask", "pass"],
)
def test_a_function_named_like_its_module_stays_the_function(first):
    code = f"import tersor\n{first}\nprint(tersor.prune.__name__, callable(tersor.prune))"
    assert fresh(code) == ["prune", "True"]


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="module 'tersor' has no attribute 'prun'"):
        tersor.prun  # noqa: B018
