"""Fixtures: every test that takes `backend` runs on each backend, skipped where it can not."""

import signal
from contextlib import contextmanager

import numpy as np
import pytest

import tersor
from tersor._backends import BACKENDS

# What a shell starts in the background ignores Ctrl-C, and so would the processes that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=[b.name for b in BACKENDS if b.owns(np.empty(0))])
def backend(request):
    """The name of a backend that works on NumPy arrays."""
    return request.param


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
