"""python -m tersor_bench: compare with every peer that is installed."""

import os
import sys

# These slow OpenBLAS, and so NumPy, down: a comparison must not profit. They are read when NumPy
# loads, so this comes before everything that loads it.
for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(_name, None)

import argparse
from fnmatch import fnmatch
from math import prod
from pathlib import Path

import tersor
from tersor._progress import track
from tersor._safetensors import check_destination

from .cases import all_cases
from .limits import measure
from .report import Failure, Run, cpu, report, table, write
from .run import run_case, use_threads

_HUGE = 20_000_000  # entries


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tersor_bench", description=__doc__)
    parser.add_argument("--op", default="*", help='glob of cases, as in "distill.*"')
    parser.add_argument("--threads", type=_counts, help='one or more counts, as in "1,2"')
    parser.add_argument("--rounds", type=int, help="samples of each contender: 15, or 5 if quick")
    parser.add_argument("--quick", action="store_true", help="5 rounds, and no huge inputs")
    parser.add_argument("--json", type=Path, help="write every figure here")
    options = parser.parse_args()
    cases = [case for case in all_cases() if fnmatch(case.op, options.op)]
    if options.quick:
        cases = [case for case in cases if prod(case.shape) <= _HUGE]
    if not cases:
        ops = ", ".join(sorted({case.op for case in all_cases()}))
        sys.exit(f"no case matches --op {options.op!r}; there are {ops}")
    if options.json:
        check_destination(options.json)
    rounds = options.rounds or (5 if options.quick else 15)

    runs, failures = [], []
    for threads in options.threads or [tersor.get_num_threads()]:
        with use_threads(threads):
            runs.append(Run(threads, measure()))
    try:
        for case, run in track([(case, run) for case in cases for run in runs], "Timing"):
            try:
                with use_threads(run.threads):
                    run.results.append(run_case(case, run.limits, rounds=rounds))
            except Exception as error:  # of whatever library: the other cases go on
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                failures.append(Failure(case.name, run.threads, reason))
    except KeyboardInterrupt:
        sys.stderr.write(f"stopped; {sum(len(run.results) for run in runs)} results are kept\n")
    if options.json:
        write(options.json, report(runs, failures, rounds))
    for run in runs:
        sys.stdout.write(f"{table(run.results)}\n{run.threads} threads on {cpu()}\n\n")
    if failures:
        lines = (f"failed: {f.case} at {f.threads} threads: {f.reason}" for f in failures)
        sys.exit("\n".join(lines))


def _counts(text: str) -> list[int]:
    """The numbers of "1,2"."""
    counts = [int(part) for part in text.split(",")]
    if min(counts) < 1:
        raise ValueError(text)
    return counts


if __name__ == "__main__":
    main()
