"""Fixtures: every test that takes `backend` runs on each backend, skipped where it can not."""

import numpy as np
import pytest

import tersor
from tersor._backends import BACKENDS


@pytest.fixture(params=[b.name for b in BACKENDS if b.owns(np.empty(0))])
def backend(request):
    """The name of a backend that works on NumPy arrays."""
    return request.param


@pytest.fixture(params=[1, 2, 5])
def threads(request):
    """A number of threads, set for the test."""
    with tersor.num_threads(request.param):
        yield request.param
