"""The cases as pytest-benchmark tests: `pytest bench`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from .case import Case
from .run import dtype_of


def bench_cases(cases: Sequence[Case]) -> Callable[..., None]:
    """A test that times every contender of every case, each checked before."""
    pairs = [(case, name) for case in cases for name in case.contenders]

    @pytest.mark.parametrize("case, contender", pairs, ids=[f"{c.name}-{n}" for c, n in pairs])
    def test(benchmark: Any, case: Case, contender: str) -> None:
        inputs = case.inputs(case.shape, dtype_of(case.dtype), np.random.default_rng(0))
        call = case.contenders[contender](inputs)
        if call is None:
            pytest.skip(f"{contender} is not installed")
        if contender not in case.inexact:
            case.check(inputs, call())
        benchmark.group = case.name
        benchmark(call)

    return test
