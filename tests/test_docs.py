"""The examples in docstrings and in the README give what they say."""

import doctest
import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import numpy as np
import pytest

import tersor

ROOT = Path(__file__).parents[1]
MODULES = sorted(m.name for m in iter_modules(tersor.__path__))
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    module = import_module(f"tersor.{name}")
    names = {"np": np, "tersor": tersor}
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, extraglobs=names):
        if test.examples:
            failures, _ = runner.run(test)
            assert failures == 0, f"{test.name}: run python -m doctest to see"


@pytest.mark.parametrize("name", tersor.__all__)
def test_every_public_name_is_documented(name):
    value = getattr(tersor, name)
    if callable(value):
        assert value.__doc__ and len(value.__doc__.strip()) > 20


@pytest.mark.parametrize("i", range(len(BLOCKS)))
def test_readme_examples(i, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert len(BLOCKS) >= 5
    exec(compile(BLOCKS[i], f"README.md block {i + 1}", "exec"), {})
