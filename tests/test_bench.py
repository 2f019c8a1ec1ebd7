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
from tersor_bench.case import Case
from tersor_bench.cases import STEMS, all_cases
from tersor_bench.limits import Limits, measure
from tersor_bench.memory import peak_memory
from tersor_bench.report import Run, report, table, write
from tersor_bench.run import Result, Time, run_case, use_threads
from tersor_bench.timer import Timing, interleave

ROOT = Path(__file__).parents[1]
LIMITS = Limits(read={1_000_000: 2e10, 20_000_000: 1e10}, copy=2e10, flops=1e11)


# One of those that are the same at toy size.
TOYS = list({(case.op, case.toy, case.dtype): case for case in reversed(all_cases())}.values())


@pytest.mark.parametrize("case", TOYS, ids=lambda case: case.name)
def test_every_case_runs_and_every_contender_is_right(case):
    result = run_case(case, LIMITS, rounds=2, shape=case.toy)
    assert next(iter(result.times)) == "tersor" and result.ratio("tersor") == 1
    assert {"tersor"} < set(case.contenders), "a case without a peer compares nothing"
    assert all(time.seconds > 0 and time.cold > 0 for time in result.times.values())
    assert result.share("tersor") >= 0


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


def test_slow_calls_get_fewer_rounds():
    for seconds, rounds in ((1.0, 5), (6.5, 7), (99.0, 9)):
        clock = FakeClock()
        calls = {"a": clock.call("a", 1.0)}
        timing = interleave(calls, rounds=9, check=lambda *_: None, seconds=seconds, clock=clock)
        assert len(timing["a"].samples) == rounds


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
    result = run_case(replace(TOY, inexact={"rounds": "it rounds"}), LIMITS, rounds=2)
    assert list(result.times) == ["tersor", "peer", "rounds"]
    assert result.wrong == {"rounds": "it rounds"}
    assert "rounds (wrong: it rounds)" in table([result])


def test_limits_ratios_and_shares_by_hand():
    assert LIMITS.least(10**10, 0) == ("memory", 1.0)
    assert LIMITS.least(10_000_000, 0) == ("memory", 0.0005)
    assert LIMITS.least(100, 0) == ("memory", 100 / 2e10)
    assert LIMITS.least(10**10, 2 * 10**11) == ("arithmetic", 2.0)
    times = {"tersor": Time(2.0, 0.1, 9.0, None), "peer": Time(5.0, 0.1, 9.0, 3_000_000)}
    result = Result("distill.toy", (4, 5), "int8", "memory", 1.0, times)
    assert (result.case, result.ratio("peer")) == ("distill.toy[4x5-int8]", 2.5)
    assert (result.share("tersor"), result.share("peer")) == (0.5, 0.2)
    last = table([result]).splitlines()[2].split()
    assert last == ["distill.toy[4x5-int8]", "peer", "2.50x", "20%", "m", "10%", "3.0", "MB"]


def test_peak_memory_is_that_of_the_call():
    x = np.ones(4_000_000)
    if peak_memory(lambda: None) is None:
        pytest.skip("this system does not tell")
    for _ in range(2):  # what one call leaves to the allocator, the next one must not profit from
        assert peak_memory(lambda: x + 1) == pytest.approx(x.nbytes, rel=0.1)
        assert peak_memory(lambda: (x + 1).sum()) == pytest.approx(x.nbytes, rel=0.1)
    assert peak_memory(lambda: x.sum()) < 1e6


def test_the_file_of_a_report_is_whole_short_and_exact(tmp_path):
    result = run_case(replace(TOY, inexact={"rounds": "it rounds"}), LIMITS, rounds=2)
    path = tmp_path / "out.json"
    path.write_text("old")
    write(path, report([Run(1, LIMITS, [result])], [], 2))
    read = json.loads(path.read_text())
    times = dict(zip(read["columns"], read["runs"][0]["results"][0]["times"]["peer"], strict=True))
    assert times["seconds"] == pytest.approx(result.times["peer"].seconds, rel=1e-3)
    assert len([line for line in path.read_text().splitlines() if "distill.toy" in line]) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_threads_are_set_and_restored():
    before = tersor.get_num_threads()
    with use_threads(before + 1):
        assert tersor.get_num_threads() == before + 1
    assert tersor.get_num_threads() == before


def command(tmp_path, contenders):
    """Run the real command with a table of one small case with these contenders."""
    path = [str(ROOT / p) for p in ("pyapi", "kernels", "bench")]
    code = f"import sys; sys.path[:0] = {path!r}\n" + COMMAND.replace("CONTENDERS", contenders)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )


# Variables that would slow NumPy down are set.
COMMAND = """
import os, runpy, sys
os.environ["OPENBLAS_CORETYPE"] = "Haswell"
import tersor_bench.case
sys.argv = "tersor_bench --threads 1,2 --quick --json out.json --op toy.*".split()
import tersor_bench.cases, tersor_bench.limits
tersor_bench.limits.measure = lambda: tersor_bench.limits.Limits({1: 1e10}, 2e10, 1e11)
cases = [
    tersor_bench.case.Case(
        "toy.double", (n,), (n,), "float32", lambda shape, dtype, rng: rng.random(shape, dtype),
        {"tersor": lambda x: lambda: x + x, CONTENDERS},
        lambda shape, size: 2 * size * shape[0], lambda x, result: None)
    for n in (7, 9)]
tersor_bench.cases.all_cases = lambda: cases
try:
    runpy.run_module("tersor_bench", run_name="__main__")
finally:
    assert "OPENBLAS_CORETYPE" not in os.environ
"""


def test_the_command_writes_its_figures(tmp_path):
    done = command(tmp_path, '"peer": lambda x: lambda: 2 * x')
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out.json").read_text())
    assert [run["threads"] for run in result["runs"]] == [1, 2]
    for run in result["runs"]:
        assert [r["shape"] for r in run["results"]] == [[7], [9]]
        assert list(run["results"][0]["times"]) == ["tersor", "peer"]
        assert run["limits"]["copy"] == 2e10
    assert result["versions"]["numpy"] and result["failures"] == []
    assert result["rounds"] == 5
    assert "1 threads" in done.stdout and "time / ours" in done.stdout


def test_a_peer_that_fails_does_not_end_the_sweep(tmp_path):
    done = command(tmp_path, '"peer": lambda x: lambda: 1 / (len(x) - 7)')
    assert done.returncode == 1
    result = json.loads((tmp_path / "out.json").read_text())
    assert [[r["shape"] for r in run["results"]] for run in result["runs"]] == [[[9]], [[9]]]
    reason = "RuntimeError: peer failed: ZeroDivisionError('division by zero')"
    assert result["failures"] == [
        {"case": "toy.double[7-float32]", "threads": threads, "reason": reason}
        for threads in (1, 2)
    ]
    assert f"failed: toy.double[7-float32] at 2 threads: {reason}" in done.stderr


def test_limits_are_of_this_machine():
    limits = measure()
    assert min(*limits.read.values(), limits.copy) > 1e8 and limits.flops > 1e8
    assert report([], [], 2)["machine"]["cpu"]
