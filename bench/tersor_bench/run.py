"""Run one case against every peer that is installed."""

from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

import tersor

from .case import Case, case_name, optional
from .limits import Limits
from .memory import peak_memory
from .timer import interleave

_SECONDS = 10.0  # of timing; slow calls get fewer rounds


class Time(NamedTuple):
    """One contender in one case."""

    seconds: float  # median of the samples
    spread: float  # interquartile range over the median
    cold: float  # seconds of the first call, compilation included
    peak: int | None  # bytes of memory beyond those in use before a later call


@dataclass(frozen=True)
class Result:
    """One case: how long each contender takes."""

    op: str
    shape: tuple[int, ...]
    dtype: str
    bound: str  # the limit that the op is under
    least: float  # seconds at that limit
    times: dict[str, Time]  # ours is "tersor"
    wrong: dict[str, str] = field(default_factory=dict)  # why a peer known to fail the check does
    errors: dict[str, float] = field(default_factory=dict)  # where the case measures them

    @property
    def case(self) -> str:
        return case_name(self.op, self.shape, self.dtype)

    def ratio(self, name: str) -> float:
        """Time of `name` over ours."""
        return self.times[name].seconds / self.times["tersor"].seconds

    def share(self, name: str) -> float:
        """Share of the limit that `name` reaches."""
        return self.least / self.times[name].seconds


def run_case(
    case: Case, limits: Limits, *, rounds: int = 15, shape: tuple[int, ...] | None = None
) -> Result:
    """Time the contenders of `case`, ours first; raise if one of them is wrong unannounced."""
    shape = shape or case.shape
    dtype = dtype_of(case.dtype)
    inputs = case.inputs(shape, dtype, np.random.default_rng(0))
    made = {name: make(inputs) for name, make in case.contenders.items()}
    wrong: dict[str, str] = {}
    errors: dict[str, float] = {}

    def check(name: str, result: Any) -> None:
        if case.error:
            errors[name] = case.error(inputs, result)
        try:
            case.check(inputs, result)
        except AssertionError as error:
            if name not in case.inexact:
                raise AssertionError(f"{case.name}: {name} is wrong: {error}") from error
            wrong[name] = case.inexact[name]

    calls = {name: call for name, call in made.items() if call is not None}
    timings = interleave(calls, rounds=rounds, check=check, seconds=_SECONDS)
    bound, least = limits.least(
        case.bytes(shape, dtype.itemsize), case.flops(shape) if case.flops else 0
    )
    times = {
        name: Time(timing.median, timing.spread, timing.cold, peak_memory(calls[name]))
        for name, timing in timings.items()
    }
    return Result(case.op, shape, case.dtype, bound, least, times, wrong, errors)


def dtype_of(name: str) -> np.dtype[Any]:
    """NumPy's dtype of that name, or ml_dtypes' bfloat16."""
    if name == "bfloat16":
        return np.dtype(optional("ml_dtypes").bfloat16)
    return np.dtype(name)


def use_threads(n: int) -> AbstractContextManager[Any]:
    """Let tersor, BLAS, torch and Numba, and so numbagg, use `n` threads."""
    stack = ExitStack()
    stack.enter_context(tersor.num_threads(n))
    threadpoolctl = optional("threadpoolctl")
    if threadpoolctl:
        stack.enter_context(threadpoolctl.threadpool_limits(n))
    numba = optional("numba")
    stack.callback(numba.set_num_threads, numba.get_num_threads())
    numba.set_num_threads(min(n, numba.config.NUMBA_NUM_THREADS))
    torch = optional("torch")
    if torch:
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(n)
    return stack
