"""tersor.numpy is numpy with the reductions and selections replaced."""

import os
import subprocess
import sys

import numpy as np
import pytest

import tersor
import tersor.numpy as tnp

REPLACED = set(tersor._EXPORTS["reduce"] + tersor._EXPORTS["select"]) - {"norm", "logsumexp"}


def test_everything_numpy_has_is_there():
    assert set(dir(np)) <= set(dir(tnp))
    assert set(np.__all__) <= set(tnp.__all__)
    for name in set(np.__all__) - REPLACED - {"linalg"}:
        assert getattr(tnp, name) is getattr(np, name), name


@pytest.mark.parametrize("name", sorted(REPLACED))
def test_replaced_functions_are_ours(name):
    assert getattr(tnp, name) is getattr(tersor, name)


def test_linalg_has_our_norm():
    assert tnp.linalg.norm is tersor.norm and tnp.linalg.svd is np.linalg.svd
    assert set(dir(np.linalg)) <= set(dir(tnp.linalg))


def test_modules_are_not_imported_once_more():
    code = """
import sys, numpy, tersor, pickle
from tersor.numpy.linalg import norm, LinAlgError
import tersor.numpy as np
assert norm is tersor.norm is np.linalg.norm and LinAlgError is numpy.linalg.LinAlgError
assert pickle.loads(pickle.dumps(norm)) is norm
try:
    import tersor.numpy.random
except ModuleNotFoundError as error:
    assert "not a package" in str(error)
assert np.random is numpy.random
assert [name for name in sys.modules if name.startswith("tersor.numpy.")] == [np.linalg.__name__]
"""
    path = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": path})


def test_a_program_runs_unchanged():
    def program(np):
        x = np.linspace(-3, 3, 90_000).reshape(300, 300)
        centred = (x - np.mean(x, axis=0)) / np.std(x, axis=0)
        return np.linalg.norm(centred), np.median(x, axis=1), np.argmax(np.sin(x), axis=0)

    for got, want in zip(program(tnp), program(np), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-13)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match=r"module 'tersor\.numpy' has no attribute 'summ'"):
        tnp.summ  # noqa: B018
