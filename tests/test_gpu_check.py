"""scripts/gpu_check, as far as it comes without a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def no_gpu():
    cupy = pytest.importorskip("cupy")
    if cupy.is_available():
        pytest.skip("there is a GPU")


def run(*command):
    env = os.environ | {"PYTHON": sys.executable}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)


def test_it_fails_loudly_where_there_is_no_gpu(no_gpu, tmp_path):
    report = tmp_path / "gpu.txt"
    done = run(ROOT / "scripts/gpu_check", report)
    assert done.returncode == 2 and not report.exists()
    assert "there is no NVIDIA GPU that CuPy can use" in done.stderr


def test_tests_on_a_gpu_fail_without_one(no_gpu):
    options = ("--gpu", "-m", "gpu", "-q", "-p", "no:cacheprovider", "-k", "current_stream")
    done = run(sys.executable, "-m", "pytest", *options, "tests/test_gpu.py")
    assert done.returncode == 1
    assert "--gpu needs an NVIDIA GPU, and there is none that CuPy can use" in done.stdout
