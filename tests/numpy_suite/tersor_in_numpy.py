"""A pytest plugin that runs NumPy's own tests with our functions in NumPy's namespace.

TERSOR_MODE    "numpy": nothing is replaced; "users": as `tersor.numpy` has them; "forced": every
               call goes to the kernels of backend "cpu", however small the array
TERSOR_WHOLE   "1": every test of the modules, not only those that call our functions by name, and
               every dtype forced: int16, uint16 and uint32 take a minute to compile
TERSOR_REPORT  file to write {test: outcome} to, as JSON
"""

import ast
import functools
import importlib
import inspect
import json
import os
import re
import sys
import types
from pathlib import Path

import numpy as np

import tersor.numpy

MODE, WHOLE = os.environ["TERSOR_MODE"], os.environ["TERSOR_WHOLE"] == "1"
NAMES = [name for name in tersor.numpy._REPLACED if hasattr(np, name)]
ORIGINALS = [*(getattr(np, name) for name in NAMES), np.linalg.norm]
OURS = [*(getattr(tersor.numpy, name) for name in NAMES), tersor.numpy.linalg.norm]
OUTCOMES = {}


def keep_numpy():
    """Give our packages, whose functions call NumPy's, NumPy's namespace as it is now."""
    for backend in ("cpu", "reference"):
        for stem in ("reduce", "select"):
            importlib.import_module(f"tersor_kernels.{backend}.{stem}")
    numpy, numpy.linalg = types.ModuleType("numpy"), types.ModuleType("numpy.linalg")
    for copy, namespace in ((numpy.linalg, np.linalg), (numpy, np)):
        vars(copy).update({**vars(namespace), **vars(copy)})
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("tersor", "tersor_kernels"):
            for key in [key for key, value in vars(module).items() if value is np]:
                setattr(module, key, numpy)


def forced(function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        dtype = getattr(args[0] if args else None, "dtype", np.dtype(float))
        left_out = not WHOLE and (dtype.kind, dtype.itemsize) in (("i", 2), ("u", 2), ("u", 4))
        return function(*args, **{"backend": None if left_out else "cpu", **kwargs})

    return call


if MODE == "numpy":
    OURS = ORIGINALS
else:
    keep_numpy()
if MODE == "forced":
    OURS = [forced(function) for function in OURS]
INSTEAD = {id(theirs): ours for theirs, ours in zip(ORIGINALS, OURS, strict=True)}


def replace_in(namespace):
    for key, value in list(vars(namespace).items()):
        if id(value) in INSTEAD:
            setattr(namespace, key, INSTEAD[id(value)])


replace_in(np)
replace_in(np.linalg)


def pytest_collection_modifyitems(config, items):
    for module in {item.module for item in items}:
        replace_in(module)
    if not WHOLE:
        left_out = {item for item in items if not names_ours(item)}
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


def names_ours(item):
    """Whether a test, or its class outside its tests, names one of our functions."""
    classes = [cls.__qualname__ for cls in inspect.getmro(item.cls or object)[:-1]]
    calls = calling(item.module)
    return item.function.__qualname__ in calls or not calls.isdisjoint(classes)


@functools.cache
def calling(module):
    """The names of the tests, and of classes without their tests, that name our functions."""
    ours = {id(function) for function in (*ORIGINALS, *OURS)}
    copied = [name for name, value in vars(module).items() if id(value) in ours]
    names = [*(rf"np\.{name}" for name in (*NAMES, r"linalg\.norm")), *copied]
    search = re.compile(rf"(?<![\w.])({'|'.join(names)})\b").search
    found = set()
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef):
            tests = [part for part in node.body if getattr(part, "name", "").startswith("test")]
            node.body = [part for part in node.body if part not in tests] or [ast.Pass()]
            found |= {f"{node.name}.{test.name}" for test in tests if search(ast.unparse(test))}
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and search(ast.unparse(node)):
            found.add(node.name)
    return found


def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        OUTCOMES[report.nodeid] = report.outcome


def pytest_sessionfinish():
    Path(os.environ["TERSOR_REPORT"]).write_text(json.dumps(OUTCOMES))
