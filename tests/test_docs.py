"""The examples in docstrings and in the README give what they say."""

import doctest
import re
from importlib import import_module
from inspect import signature
from pathlib import Path
from pkgutil import iter_modules
from typing import get_type_hints

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


@pytest.mark.parametrize("name", tersor._STEM_OF)
def test_every_public_signature_can_be_read(name):
    value = getattr(tersor, name)
    text, count = str(signature(value)), len(signature(value).parameters)
    assert len(text) < 60 + 40 * count, text  # ArrayLike written out is 400 characters
    assert not re.search(r"numpy\.typing|numpy\._typing|_SupportsArray", text), text
    get_type_hints(value)  # names in annotations that are read late must still exist


@pytest.mark.parametrize("i", range(len(BLOCKS)))
def test_readme_examples(i, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert len(BLOCKS) >= 5
    exec(compile(BLOCKS[i], f"README.md block {i + 1}", "exec"), {})
