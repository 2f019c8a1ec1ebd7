"""The timer, the limits, and a toy-size run of every case, so that none rots."""

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tersor
from tersor_bench.__main__ import table
from tersor_bench.case import Case
from tersor_bench.cases import STEMS, all_cases
from tersor_bench.limits import Limits, measure
from tersor_bench.run import report, run_case, use_threads
from tersor_bench.timer import Timing, interleave

ROOT = Path(__file__).parents[1]
LIMITS = Limits(read=1e10, copy=2e10, flops=1e11)


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_every_case_runs_and_every_contender_is_right(case):
    rows = run_case(case, LIMITS, rounds=2, shape=case.toy)
    assert rows[0].contender == "tersor" and rows[0].ratio == 1
    assert {"tersor"} < set(case.contenders), "a case without a peer compares nothing"
    assert all(row.seconds > 0 and row.cold > 0 and 0 <= row.share for row in rows)


@pytest.mark.parametrize("stem", STEMS)
def test_every_stem_has_cases(stem):
    assert [case for case in all_cases() if case.op.startswith(stem)]


def test_names_are_unique():
    names = [case.name for case in all_cases()]
    assert len(names) == len(set(names))


class FakeClock:
    """Time passes only inside calls: each says how long it takes."""

    def __init__(self):
        self.now = 0.0
        self.order = []

    def __call__(self):
        return self.now

    def call(self, name, seconds):
        def run():
            self.now += seconds
            self.order.append(name)
            return name

        return run


def test_rounds_are_interleaved_and_shuffled():
    clock = FakeClock()
    calls = {name: clock.call(name, 1.0) for name in "abc"}
    timings = interleave(calls, rounds=20, check=lambda *_: None, clock=clock, rng=random.Random(1))
    timed = clock.order[6:]  # after the first call and the calibration of each
    rounds = [tuple(timed[i : i + 3]) for i in range(0, 60, 3)]
    assert all(sorted(names) == ["a", "b", "c"] for names in rounds)
    assert len(set(rounds)) > 3
    assert all(timing.samples == [1.0] * 20 for timing in timings.values())


def test_short_calls_are_repeated_until_a_sample_is_long():
    clock = FakeClock()
    timing = interleave({"a": clock.call("a", 1e-5)}, rounds=3, check=lambda *_: None, clock=clock)[
        "a"
    ]
    assert len(clock.order) == pytest.approx(2 + 3 * 200, abs=3)
    assert timing.median == pytest.approx(1e-5)


def test_the_check_comes_before_the_timing():
    clock = FakeClock()

    def check(name, result):
        raise AssertionError(f"{name} is wrong")

    with pytest.raises(AssertionError, match="a is wrong"):
        interleave({"a": clock.call("a", 1.0)}, rounds=9, check=check, clock=clock)
    assert clock.order == ["a"]


def test_median_and_spread_by_hand():
    timing = Timing(cold=9.0, samples=[4.0, 1.0, 2.0, 3.0, 100.0])
    assert timing.median == 3.0
    assert timing.spread == pytest.approx((52.0 - 1.5) / 3.0)


TOY = Case(
    op="distill.toy",
    shape=(4,),
    toy=(4,),
    dtype="float32",
    inputs=lambda shape, dtype, rng: rng.standard_normal(shape).astype(dtype),
    contenders={
        "tersor": lambda x: lambda: x + x,
        "peer": lambda x: lambda: 2 * x,
        "absent": lambda x: None,
        "rounds": lambda x: lambda: 2 * np.rint(x),
    },
    bytes=lambda shape, itemsize: 2 * itemsize * shape[0],
    check=lambda x, result: np.testing.assert_array_equal(result, 2 * x),
)


def test_a_wrong_contender_is_refused_unless_announced():
    with pytest.raises(AssertionError, match=r"distill.toy\[4-float32\]: rounds is wrong"):
        run_case(TOY, LIMITS, rounds=2)
    rows = run_case(replace(TOY, inexact={"rounds": "it rounds"}), LIMITS, rounds=2)
    assert [row.contender for row in rows] == ["tersor", "peer", "rounds"]
    assert [row.wrong for row in rows] == ["", "", "it rounds"]
    assert "rounds (wrong: it rounds)" in table(rows)


def test_shares_of_limits_by_hand():
    assert LIMITS.share(2.0, 10**10, None) == ("memory", 0.5)
    assert LIMITS.share(2.0, 10**10, 2 * 10**11) == ("arithmetic", 1.0)


def test_threads_are_set_and_restored():
    before = tersor.get_num_threads()
    with use_threads(before + 1):
        assert tersor.get_num_threads() == before + 1
    assert tersor.get_num_threads() == before


def test_the_command_writes_its_figures(tmp_path):
    path = ":".join(str(ROOT / p) for p in ("pyapi", "kernels", "bench"))
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {path.split(':')!r}\n" + COMMAND]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out.json").read_text())
    assert {row["contender"] for row in result["rows"]} == {"tersor", "peer"}
    assert result["limits"]["copy"] > 0 and result["versions"]["numpy"]
    assert "1 threads" in done.stdout and "time / ours" in done.stdout


# The real command with a table of one small case, and variables that would slow NumPy down.
COMMAND = """
import os, runpy, sys
os.environ["OPENBLAS_CORETYPE"] = "Haswell"
import tersor_bench.case
sys.argv = ["tersor_bench", "--threads", "1", "--quick", "--json", "out.json", "--op", "toy.*"]
import tersor_bench.cases
case = tersor_bench.case.Case(
    "toy.double", (9,), (9,), "float32", lambda shape, dtype, rng: rng.random(shape, dtype),
    {"tersor": lambda x: lambda: x + x, "peer": lambda x: lambda: 2 * x},
    lambda shape, size: 2 * size * shape[0], lambda x, result: None)
tersor_bench.cases.all_cases = lambda: [case]
runpy.run_module("tersor_bench", run_name="__main__")
assert "OPENBLAS_CORETYPE" not in os.environ
"""


def test_limits_are_of_this_machine():
    limits = measure()
    assert min(limits.read, limits.copy) > 1e8 and limits.flops > 1e8
    assert report([], limits, 1)["machine"]["cpu"]
