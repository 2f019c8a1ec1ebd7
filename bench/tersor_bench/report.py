"""What a sweep found, as a table and as a file."""

import json
import platform
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import tersor
from tersor._safetensors import whole_file

from .case import optional
from .limits import Limits
from .run import Result, Time

PEERS = ("numpy", "scipy", "torch", "onnxruntime", "sparse_dot_mkl", "bottleneck", "numbagg")


@dataclass
class Run:
    """The results at one number of threads."""

    threads: int
    limits: Limits
    results: list[Result] = field(default_factory=list)


@dataclass(frozen=True)
class Failure:
    """A case that could not be measured."""

    case: str
    threads: int
    reason: str


def table(results: list[Result]) -> str:
    """Ratios and shares, a line a contender: absolute times depend on the machine's mood."""
    head = ("case", "contender", "time / ours", "of limit", "spread", "peak memory")
    lines = [head]
    for result in results:
        for name, time in result.times.items():
            wrong = f" (wrong: {result.wrong[name]})" if name in result.wrong else ""
            wrong += f" (error {result.errors[name]:.2g})" if name in result.errors else ""
            share = f"{result.share(name):.0%} {result.bound[0]}"
            peak = "" if time.peak is None else f"{time.peak / 1e6:.1f} MB"
            figures = f"{result.ratio(name):.2f}x", share, f"{time.spread:.0%}", peak
            lines.append((result.case, name + wrong, *figures))
    wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = (
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, wide, strict=True))
        )
        for line in lines
    )
    return "\n".join((*rows, "of limit: m of the speed of reading as much, a of the arithmetic"))


def report(runs: list[Run], failures: list[Failure], rounds: int) -> dict[str, Any]:
    """Everything needed to judge the figures later, ready for JSON."""
    return {
        "date": date.today().isoformat(),
        "rounds": rounds,
        "machine": {"cpu": cpu(), "system": platform.system(), "commit": _commit()},
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in ("tersor", "numba", *PEERS)},
        },
        "columns": Time._fields,  # of each list in "times"
        "failures": [vars(failure) for failure in failures],
        "runs": [
            {
                "threads": run.threads,
                "limits": {
                    "read": {size: _round(speed) for size, speed in run.limits.read.items()},
                    "copy": _round(run.limits.copy),
                    "flops": _round(run.limits.flops),
                },
                "results": [_record(result) for result in run.results],
            }
            for run in runs
        ],
    }


def write(path: Path, report: dict[str, Any]) -> None:
    """Write the report, whole or not at all, a line a result."""
    with whole_file(path) as file:
        file.write_text(_dump(report, levels=4) + "\n")


def _record(result: Result) -> dict[str, Any]:
    errors = {name: _round(error) for name, error in result.errors.items()}
    record = vars(result) | {"least": _round(result.least), "errors": errors}
    record["times"] = {
        name: [None if x is None else _round(x) for x in time]
        for name, time in result.times.items()
    }
    return {key: x for key, x in record.items() if key not in ("wrong", "errors") or x}


def _round(value: float) -> float:
    """To four digits, which is more than there is to know."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _dump(value: Any, levels: int) -> str:
    """JSON in which only the outer `levels` are broken into lines."""
    if not (levels and value and isinstance(value, dict | list)):
        return json.dumps(value)
    if isinstance(value, dict):
        parts = [f"{json.dumps(name)}: {_dump(x, levels - 1)}" for name, x in value.items()]
        return "{\n" + ",\n".join(parts) + "\n}"
    return "[\n" + ",\n".join(_dump(x, levels - 1) for x in value) + "\n]"


def cpu() -> str:
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
