"""python -m tersor_bench: compare with every peer that is installed."""

import os
import sys

# These slow OpenBLAS, and so NumPy, down: a comparison must not profit. They are read when NumPy
# loads, so this comes before everything that loads it.
for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(_name, None)

import argparse
import json
from fnmatch import fnmatch
from math import prod
from pathlib import Path

import tersor
from tersor._progress import track

from .cases import all_cases
from .limits import measure
from .run import Row, report, run_case, use_threads

_HUGE = 20_000_000  # entries


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tersor_bench", description=__doc__)
    parser.add_argument("--op", default="*", help='glob of cases, as in "distill.*"')
    parser.add_argument("--threads", type=int, default=tersor.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="5 rounds, and no huge inputs")
    parser.add_argument("--json", type=Path, help="write every figure here")
    options = parser.parse_args()
    cases = [case for case in all_cases() if fnmatch(case.op, options.op)]
    if options.quick:
        cases = [case for case in cases if prod(case.shape) <= _HUGE]
    if not cases:
        ops = ", ".join(sorted({case.op for case in all_cases()}))
        sys.exit(f"no case matches --op {options.op!r}; there are {ops}")
    rows: list[Row] = []
    with use_threads(options.threads):
        limits = measure()
        try:
            for case in track(cases, "Timing"):
                rows += run_case(case, limits, rounds=5 if options.quick else 15)
        except KeyboardInterrupt:
            sys.stderr.write(f"stopped; {len(rows)} results are kept\n")
    result = report(rows, limits, options.threads)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    sys.stdout.write(table(rows) + f"\n{options.threads} threads on {result['machine']['cpu']}\n")


def table(rows: list[Row]) -> str:
    """Ratios and shares, a line a contender: absolute times depend on the machine's mood."""
    names = [row.contender + (f" (wrong: {row.wrong})" if row.wrong else "") for row in rows]
    wide = max([4, *(len(row.case) for row in rows)])
    narrow = max([9, *map(len, names)])
    lines = [f"{'case':{wide}}  {'contender':{narrow}}  time / ours  of limit  spread"]
    for row, name in zip(rows, names, strict=True):
        share = f"{row.share:.0%} {row.bound[0]}"
        figures = f"{row.ratio:10.2f}x  {share:>8}  {row.spread:6.0%}"
        lines.append(f"{row.case:{wide}}  {name:{narrow}}  {figures}")
    lines.append("of limit: m of the memory's read bandwidth, a of the float32 arithmetic")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
