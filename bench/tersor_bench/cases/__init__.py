"""The table of cases, a module a stem."""

from importlib import import_module

from ..case import Case

STEMS = ("reduce", "select", "prune", "quantize", "matmul_int8", "csr", "distill")


def all_cases() -> list[Case]:
    """The cases of every stem."""
    modules = [import_module(f"{__name__}.{stem}") for stem in STEMS]
    return [case for module in modules for case in module.CASES]
