"""User code type-checks strictly and runs."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
USER_CODE = Path(__file__).with_name("user_code.py")


@pytest.mark.parametrize(
    "checker", [("mypy", "--strict", "--config-file="), ("pyright", "--project", os.devnull)]
)
def test_user_code_type_checks(checker, tmp_path):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(ROOT / p) for p in ("pyapi", "kernels", "bench")),
        "MYPYPATH": str(ROOT / "pyapi"),
        "MYPY_CACHE_DIR": str(ROOT / ".mypy_cache/user"),
    }
    command = [sys.executable, "-m", *checker, str(USER_CODE)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


def test_user_code_runs():
    names = runpy.run_path(str(USER_CODE))
    assert names["y"].shape == (8, 16)
    assert names["z"].shape == (16, 8)
    assert names["packed"].dtype == "uint8"
    assert float(names["loss"]) > 0 and names["grad"].shape == names["x"].shape
