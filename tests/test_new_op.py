"""scripts/new_op leaves a tree that keeps the layout, and one failing test."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def tree(tmp_path):
    for folder in ("pyapi", "kernels", "bench", "tests", "scripts"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def new_op(tree, *arguments):
    command = [sys.executable, tree / "scripts/new_op", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def pytest_in(tree, *arguments):
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=tree).stdout


def test_a_new_op_keeps_the_layout_and_its_test_fails(tree):
    done = new_op(tree, "flip")
    assert done.returncode == 0 and "kernels/tersor_kernels/cpu/flip.py" in done.stdout, done.stderr
    layout = pytest_in(tree, "tests/test_layout.py")
    assert "failed" not in layout and "passed" in layout, layout
    own = pytest_in(tree, "tests/test_flip.py")
    assert "54 failed" in own, own
    assert "flip has no reference yet" in own and "None" in own
    tidy = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "pyapi",
        "kernels",
        "bench",
        "tests/test_flip.py",
    ]
    assert subprocess.run(tidy, cwd=tree).returncode == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((), "./scripts/new_op NAME"),
        (("Flip",), "must be a lower-case Python identifier, got 'Flip'"),
        (("lambda",), "must be a lower-case Python identifier"),
        (("prune",), "prune exists already"),
        (("top_k",), "top_k exists already: tersor exports that name"),
    ],
)
def test_bad_names_are_refused_and_nothing_is_written(arguments, message, tree):
    before = sorted(tree.rglob("*"))
    done = new_op(tree, *arguments)
    assert done.returncode == 1 and message in done.stderr
    assert sorted(tree.rglob("*")) == before
