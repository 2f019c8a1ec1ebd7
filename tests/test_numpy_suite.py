"""NumPy's own tests, which its wheel holds, pass with our functions in NumPy's namespace."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
SUITE = ROOT / "tests" / "numpy_suite"
INSTALLED = Path(np.__file__).parents[1]
MODULES = [
    *(f"numpy._core.tests.test_{name}" for name in ("numeric", "multiarray", "ufunc")),
    *(f"numpy.lib.tests.test_{name}" for name in ("nanfunctions", "function_base")),
    "numpy.linalg.tests.test_linalg",
]
PASSES = """
import numpy as np
from numpy import median as copied
import tersor

def test_replaced():
    for function in (np.sum, copied, np.linalg.norm):
        assert function.__module__.startswith("tersor")
    assert (np.sum is tersor.sum) == (not FORCED)
    assert np.sum(np.ones(3, np.float32)) == 3
"""


def outcomes(mode, tmp_path, tests, whole=False):
    """{test: "passed", "failed" or "skipped"}"""
    report = tmp_path / "report.json"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(p) for p in (ROOT / "pyapi", ROOT / "kernels", SUITE)),
        "TERSOR_MODE": mode,
        "TERSOR_WHOLE": str(int(whole)),
        "TERSOR_REPORT": str(report),
    }
    environment.pop("PYTEST_ADDOPTS", None)
    options = ["-q", "-p", "tersor_in_numpy", "-p", "no:cacheprovider", "-c", os.devnull]
    command = [sys.executable, "-m", "pytest", *options, "--rootdir", str(INSTALLED), *tests]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode in (0, 1) and report.exists(), done.stdout + done.stderr
    return json.loads(report.read_text())


def failures(found):
    return {test for test, outcome in found.items() if outcome == "failed"}


def exceptions(mode):
    lines = (SUITE / "exceptions.txt").read_text().splitlines()
    fields = [line.split(" | ") for line in lines if line and not line.startswith("#")]
    assert all(len(field) == 3 and all(field) for field in fields), "mode | test | reason"
    return {test for of, test, reason in fields if of == mode}


def check(mode, tmp_path, modules=MODULES, whole=False):
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        pytest.skip(f"NumPy was installed without its tests: {', '.join(missing)}")
    found = outcomes(mode, tmp_path, ["--pyargs", *modules], whole)
    assert len(found) > 500 * len(modules)
    failed, listed = failures(found), exceptions(mode)
    unlisted = failed - listed
    if unlisted:  # NumPy's own failures are not ours
        again = [str(INSTALLED / test) for test in sorted(unlisted)]
        unlisted -= failures(outcomes("numpy", tmp_path, again, whole=True))
    assert not unlisted, f"these fail with tersor's functions, mode {mode}"
    assert not listed & found.keys() - failed, "these pass: take them off exceptions.txt"


def test_numpys_tests_of_our_functions_pass(tmp_path):
    check("users", tmp_path)


def test_numpys_tests_of_functions_that_skip_nan_pass_on_kernels(tmp_path):
    check("forced", tmp_path, ["numpy.lib.tests.test_nanfunctions"])


@pytest.mark.full
def test_numpys_tests_of_our_functions_pass_on_kernels(tmp_path):
    check("forced", tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("mode", ["users", "forced"])
def test_all_tests_of_these_modules_pass(mode, tmp_path):
    check(mode, tmp_path, whole=True)


@pytest.mark.parametrize("mode", ["numpy", "users", "forced"])
def test_the_modes_are_what_they_say(mode, tmp_path):
    test = tmp_path / "test_modes.py"
    test.write_text(PASSES.replace("FORCED", str(mode == "forced")))
    found = outcomes(mode, tmp_path, [str(test)])
    assert list(found.values()) == ["failed" if mode == "numpy" else "passed"]
