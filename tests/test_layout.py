"""The sources keep the convention: one op, one stem, in every folder, with one signature."""

import ast
from pathlib import Path

import pytest

import tersor
from tersor_bench.cases import STEMS

ROOT = Path(__file__).parents[1]
KERNELS = ROOT / "kernels/tersor_kernels"
BACKENDS = sorted(p.name for p in KERNELS.iterdir() if p.is_dir() and p.name != "__pycache__")
SIBLINGS = (
    "pyapi/tersor/{}.py",
    "kernels/tersor_kernels/reference/{}.py",
    "kernels/tersor_kernels/cpu/{}.py",
    "tests/test_{}.py",
    "bench/bench_{}.py",
    "bench/tersor_bench/cases/{}.py",
)


def public_functions(path):
    """Name -> parameters with defaults, of the functions and classes a module has to offer.

    Its own, and what it passes on from a private sibling: `import f as f`.
    """
    functions = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            functions[node.name] = ast.unparse(node.args)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            functions[node.name] = "class"
        elif isinstance(node, ast.ImportFrom):
            passed_on = [a.name for a in node.names if a.name == a.asname]
            if passed_on:
                theirs = public_functions(path.with_name(f"{node.module}.py"))
                functions |= {name: theirs[name] for name in passed_on}
    return functions


def imported(path):
    """The modules and module attributes that a file imports, as dotted names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (f"{node.module}." if node.module else "")
            yield from (base + alias.name for alias in node.names)


def missing_siblings(root, stem):
    return [s.format(stem) for s in SIBLINGS if not (root / s.format(stem)).exists()]


def differing_functions(reference, other):
    """Functions that one of two kernel modules lacks, or has with other parameters."""
    want, got = public_functions(reference), public_functions(other)
    return sorted(name for name in {*want, *got} if want.get(name) != got.get(name))


def exports_of_init():
    """What the TYPE_CHECKING block of tersor/__init__.py imports: {name: stem}."""
    tree = ast.parse((ROOT / "pyapi/tersor/__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    return {a.name: node.module for node in block.body for a in node.names}


@pytest.mark.parametrize("stem", STEMS)
def test_every_stem_is_in_every_folder(stem):
    assert missing_siblings(ROOT, stem) == []


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("backend", [b for b in BACKENDS if b != "reference"])
def test_kernels_are_the_references_on_every_backend(stem, backend):
    module = KERNELS / backend / f"{stem}.py"
    if backend != "cpu" and not module.exists():
        pytest.skip(f"{stem} has no kernels on {backend} yet")
    assert differing_functions(KERNELS / f"reference/{stem}.py", module) == []
    assert backend != "cuda" or module.with_suffix(".cu").exists()


def test_stems_are_those_of_the_reference():
    files = {p.stem for p in (KERNELS / "reference").glob("*.py") if not p.stem.startswith("_")}
    assert files == set(STEMS)


def test_what_checkers_see_is_what_is_exported():
    lazily = {name: stem for stem, names in tersor._EXPORTS.items() for name in names}
    assert exports_of_init() == lazily
    assert set(tersor.__all__) == {*lazily, "__version__"}
    assert set(STEMS) <= set(tersor._EXPORTS)


@pytest.mark.parametrize("stem", STEMS)
def test_public_functions_of_a_stem_are_exported(stem):
    defined = set(public_functions(ROOT / f"pyapi/tersor/{stem}.py"))
    assert defined <= set(tersor._EXPORTS[stem])


def test_only_dispatch_reaches_kernels():
    allowed = {"_backends.py", "threads.py"}
    for path in (ROOT / "pyapi/tersor").glob("*.py"):
        if path.name not in allowed:
            assert not [m for m in imported(path) if m.startswith("tersor_kernels")], path


def test_kernels_do_not_know_the_api():
    for path in KERNELS.rglob("*.py"):
        names = [m for m in imported(path) if m == "tersor" or m.startswith("tersor.")]
        assert not names, path


def test_kernels_compile_by_our_njit_and_run_on_our_threads():
    for path in KERNELS.rglob("*.py"):
        if path.name != "_jit.py":
            assert not {"numba.njit", "numba.prange", "numba.jit"} & set(imported(path)), path
            assert "parallel=True" not in path.read_text(), path


def test_the_checks_see_what_is_wrong(tmp_path):
    for sibling in SIBLINGS[1:]:
        file = tmp_path / sibling.format("flip")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("def flip(x, axis=0):\n    return _helper(x)\n")
    assert missing_siblings(tmp_path, "flip") == ["pyapi/tersor/flip.py"]
    reference, cpu = (tmp_path / SIBLINGS[i].format("flip") for i in (1, 2))
    assert differing_functions(reference, cpu) == []
    cpu.write_text("def flip(x, axis=1): ...\ndef _hidden(): ...\ndef extra(): ...\n")
    assert differing_functions(reference, cpu) == ["extra", "flip"]
    cpu.write_text("import numba\nfrom numba import prange, njit as n\nfrom . import _x\n")
    assert set(imported(cpu)) == {"numba", "numba.prange", "numba.njit", "._x"}
