"""The wheel, installed alone in a new environment, imports and runs."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"tersor": "pyapi", "tersor_kernels": "kernels", "tersor_bench": "bench"}
pytestmark = pytest.mark.install


def run(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, ROOT)
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_holds_every_file_of_the_packages(wheel):
    tracked = run("git", "ls-files", *PACKAGES.values(), cwd=ROOT).split()
    want = {
        f.partition("/")[2] for f in tracked if f.split("/")[1] in PACKAGES and (ROOT / f).exists()
    }
    assert {"tersor/py.typed", "tersor_kernels/py.typed"} <= want
    names = set(zipfile.ZipFile(wheel).namelist())
    assert want <= names
    assert {name.partition("/")[0] for name in names - want} == {
        f"tersor-{wheel.name.split('-')[1]}.dist-info"
    }


def test_wheel_alone_runs(wheel, tmp_path):
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    run(python, "-m", "pip", "install", "--disable-pip-version-check", wheel)
    code = """
import sys, tersor, numpy as np
x = np.random.default_rng(0).standard_normal((64, 32), np.float32)
q = tersor.quantize(x, axis=0)
assert abs(q.dequantize() - x).max() <= q.scale.max() / 2 * 1.0001
assert (tersor.prune(x, 0.25) != 0).sum() == 512
assert not {"torch", "cupy", "dask", "ml_dtypes"} & set(sys.modules)
print(tersor.__version__, tersor.__file__)
"""
    version, _, file = run(python, "-c", code, cwd=tmp_path).partition(" ")
    assert version == "0.1.0" and str(tmp_path) in file
