"""Run the cases against every peer that is installed, and print where each stands."""

import platform
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import tersor

from .case import Case, optional
from .limits import Limits
from .timer import interleave

PEERS = ("numpy", "scipy", "torch", "onnxruntime", "sparse_dot_mkl", "bottleneck", "numbagg")


@dataclass(frozen=True)
class Row:
    """One contender in one case."""

    case: str
    contender: str
    seconds: float  # median of the samples
    spread: float  # interquartile range over the median
    cold: float  # seconds of the first call, compilation included
    ratio: float  # its median over ours
    bound: str  # the limit that the op is under
    share: float  # of that limit
    wrong: str  # why its answer fails the check, for peers known to; else empty


def run_case(
    case: Case, limits: Limits, *, rounds: int = 15, shape: tuple[int, ...] | None = None
) -> list[Row]:
    """Time the contenders of `case`, ours first; raise if one of them is wrong unannounced."""
    shape = shape or case.shape
    dtype = dtype_of(case.dtype)
    inputs = case.inputs(shape, dtype, np.random.default_rng(0))
    made = {name: make(inputs) for name, make in case.contenders.items()}
    wrong: dict[str, str] = {}

    def check(name: str, result: Any) -> None:
        try:
            case.check(inputs, result)
        except AssertionError as error:
            if name not in case.inexact:
                raise AssertionError(f"{case.name}: {name} is wrong: {error}") from error
            wrong[name] = case.inexact[name]

    calls = {name: call for name, call in made.items() if call is not None}
    timings = interleave(calls, rounds=rounds, check=check)
    ours = timings["tersor"].median
    moved = case.bytes(shape, dtype.itemsize)
    flops = case.flops(shape) if case.flops else None
    rows = []
    for name, timing in timings.items():
        bound, share = limits.share(timing.median, moved, flops)
        rows.append(
            Row(
                case=case.name,
                contender=name,
                seconds=timing.median,
                spread=timing.spread,
                cold=timing.cold,
                ratio=timing.median / ours,
                bound=bound,
                share=share,
                wrong=wrong.get(name, ""),
            )
        )
    return rows


def dtype_of(name: str) -> np.dtype[Any]:
    """NumPy's dtype of that name, or ml_dtypes' bfloat16."""
    if name == "bfloat16":
        return np.dtype(optional("ml_dtypes").bfloat16)
    return np.dtype(name)


def use_threads(n: int) -> AbstractContextManager[Any]:
    """Let tersor, BLAS and torch use `n` threads."""
    stack = ExitStack()
    stack.enter_context(tersor.num_threads(n))
    threadpoolctl = optional("threadpoolctl")
    if threadpoolctl:
        stack.enter_context(threadpoolctl.threadpool_limits(n))
    torch = optional("torch")
    if torch:
        before = torch.get_num_threads()
        torch.set_num_threads(n)
        stack.callback(torch.set_num_threads, before)
    return stack


def report(rows: list[Row], limits: Limits, threads: int) -> dict[str, Any]:
    """Everything needed to judge the figures later, ready for JSON."""
    return {
        "rows": [asdict(row) for row in rows],
        "limits": asdict(limits),
        "threads": threads,
        "machine": {"cpu": _cpu(), "system": platform.platform(), "commit": _commit()},
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in ("tersor", "numba", *PEERS)},
        },
    }


def _cpu() -> str:
    """The CPU as LLVM names it, which decides the code that was run."""
    codegen: Callable[[], Any] = optional("numba").core.registry.cpu_target.target_context.codegen
    return str(codegen().magic_tuple()[1])


def _version(name: str) -> str | None:
    if name == "tersor":
        return tersor.__version__
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
