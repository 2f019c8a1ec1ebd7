"""Fixtures: every test that takes `backend` runs on each backend, skipped where it can not."""

import signal
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import tersor
from tersor._backends import BACKENDS

# What a shell starts in the background ignores Ctrl-C, and so would the processes that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


KERNELS = Path(__file__).parents[1] / "kernels/tersor_kernels"
STEMS = sorted(p.stem for p in (KERNELS / "reference").glob("[a-z]*.py"))


def stem_of(module):
    """The stem that a test module is about: what it says itself, or its name."""
    named = [
        stem for stem in STEMS if module.__name__.rpartition(".")[2].startswith(f"test_{stem}")
    ]
    return getattr(module, "STEM", named[0] if named else None)


def pytest_addoption(parser):
    parser.addoption("--gpu", action="store_true", help="run cuda on the GPU, not on the emulator")


def pytest_generate_tests(metafunc):
    """`backend`: those of NumPy arrays, and cuda where the stem has kernels."""
    own = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "backend" not in metafunc.fixturenames or "backend" in own:
        return
    names = [b.name for b in BACKENDS if b.owns(np.empty(0))]
    if (KERNELS / f"cuda/{stem_of(metafunc.module)}.cu").exists():
        mark = pytest.mark.gpu if metafunc.config.getoption("--gpu") else pytest.mark.emulated
        names.append(pytest.param("cuda", marks=mark))
    metafunc.parametrize("backend", names, indirect=True)


def pytest_collection_modifyitems(items):
    """Of the tests on cuda, those with other parameters than EMULATED of their module are long."""
    for item in items:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        if params.get("backend") == "cuda":
            quick = getattr(item.module, "EMULATED", {})
            if any(name in params and params[name] not in quick[name] for name in quick):
                item.add_marker(pytest.mark.full)


@pytest.fixture
def backend(request):
    """The name of a backend; test functions give all of them NumPy arrays."""
    if request.param == "cuda":
        request.getfixturevalue("gpu" if request.config.getoption("--gpu") else "emulated")
    return request.param


@pytest.fixture
def gpu(request, monkeypatch):
    """The real CuPy, and tersor's functions put NumPy arrays on the GPU."""
    if not request.config.getoption("--gpu"):
        pytest.skip("runs on a GPU, with --gpu")
    cupy = pytest.importorskip("cupy")
    if not cupy.is_available():
        pytest.fail("--gpu needs an NVIDIA GPU, and there is none that CuPy can use")
    import cupy_standin

    cupy_standin.adapt(monkeypatch)
    return cupy


@pytest.fixture
def emulated(monkeypatch):
    """CuPy's stand-in in the place of CuPy, and tersor's functions put NumPy arrays on it."""
    import ptx_emulator

    if ptx_emulator.missing():
        pytest.skip(ptx_emulator.missing())
    import cupy_standin

    cupy_standin.install(monkeypatch)
    cupy_standin.adapt(monkeypatch)
    return cupy_standin


@pytest.fixture(params=[1, 2, 5])
def threads(request):
    """A number of threads, set for the test."""
    with tersor.num_threads(request.param):
        yield request.param


@pytest.fixture
def full_disk():
    """A context in which no file can grow beyond 1000 bytes."""
    resource = pytest.importorskip("resource")

    @contextmanager
    def limited():
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited
