"""The README's tables are what the script makes of the measurements."""

import json
import re
import runpy
from pathlib import Path

import pytest

from tersor_bench.cases import all_cases
from tersor_bench.limits import Limits
from tersor_bench.report import Failure, Run, report, write
from tersor_bench.run import Result, Time

ROOT = Path(__file__).parents[1]
SCRIPT = runpy.run_path(str(ROOT / "scripts/readme_tables"))
STEMS = ("reduce", "select", "prune", "quantize", "matmul_int8")
LIMITS = Limits({1_000_000: 1e10}, 2e10, 1e11)


def seconds(case, threads):
    """Made up: torch is always a little faster than we are, and numpy uses one thread."""
    ours = 0.01 / threads
    times = {"tersor": ours, "numpy": 0.02, "torch": 0.9 * ours, "bottleneck": 3 * ours}
    times["onnxruntime"] = 2 * ours
    if case.op.endswith("(0)"):
        times["numbagg"] = 1.5 * ours
    return {name: times[name] for name in case.contenders if name in times}


def made_up(case, threads):
    times = {name: Time(t, 0.1, 1.0, 400_000) for name, t in seconds(case, threads).items()}
    wrong = {name: reason for name, reason in case.inexact.items() if name in times}
    errors = {"tersor": 0.025, "onnxruntime": 0.01} if case.error else {}
    return Result(case.op, case.shape, case.dtype, "memory", 0.004, times, wrong, errors)


@pytest.fixture
def root(tmp_path):
    """A folder with measurements of every case, and a README to fill."""
    (tmp_path / "bench/results").mkdir(parents=True)
    for stem in STEMS:
        cases = [case for case in all_cases() if case.op.startswith(f"{stem}.")]
        runs = [Run(n, LIMITS, [made_up(case, n) for case in cases]) for n in (1, 2)]
        failures = [Failure("reduce.odd[3-int8]", 2, "peer failed")] if stem == "reduce" else []
        write(tmp_path / f"bench/results/{stem}.json", report(runs, failures, 15))
    parts = ("reductions", "selections", "losses", "quantizations", "products")
    marked = (
        f"<!-- {part}: by scripts/readme_tables -->\nBy hand.\n<!-- end of {part} -->\n"
        for part in parts
    )
    (tmp_path / "README.md").write_text("Before.\n" + "Between.\n".join(marked) + "After.\n")
    return tmp_path


def test_nobody_has_edited_the_tables():
    SCRIPT["main"](["--check"])


def test_tables_by_hand(root):
    SCRIPT["main"]([], root)
    text = (root / "README.md").read_text()
    assert "By hand." not in text and text.startswith("Before.\n") and text.endswith("After.\n")
    assert text.count("Between.\n") == 4
    assert "| `max` | 4.0 | 0.90 | 3.0 / 1.50 / 3.0 | 2.0 | 80% | 40% | 1% |" in text
    assert "| `nansum` | 4.0 | 0.90 | 3.0\\* / 1.50\\* / 3.0\\* | 2.0 | 80% | 40% | 1% |" in text
    assert "| top 64 of each row | 4.0 | 0.90 | - | 2.0 | 1% |" in text
    assert "| absmax, 1e8 | 4.0 | 0.90 | - | 80% | 2.0 / 0.90 / - / 40% |" in text
    assert "| M = 8 | - | 2.0 | 0.90 | - / 2.0 / 0.90 |" in text
    assert "| M = 8, int4 | - | 2.0 | - | 2.5% / 1.0% / - |" in text
    numpy, torch, other = re.split("Slower than .*:\n", text)[1:]
    assert numpy.strip() == other.split("<")[0].strip() == "- in no case."
    assert len(torch.strip().splitlines()) == 5
    assert "- up to 100 entries: `" in torch and "`argmax` 0.90, " in torch
    full = (root / "bench/RESULTS.md").read_text()
    assert "Failed: `reduce.odd[3-int8]` at 2 threads: peer failed" in full
    for case in all_cases():
        if case.op.split(".")[0] in STEMS:
            assert full.count(f"| `{case.name.partition('.')[2]}` |") >= 2


def test_losses_to_numpy_are_listed_by_size(root):
    path = root / "bench/results/select.json"
    data = json.loads(path.read_text())
    for run in data["runs"]:
        for result in run["results"]:
            if result["op"] == "select.median()" and result["shape"] == [1000]:
                result["times"]["numpy"][0] = result["times"]["tersor"][0] / 2
    path.write_text(json.dumps(data))
    SCRIPT["main"]([], root)
    numpy = (root / "README.md").read_text().split("Slower than NumPy")[1].split("Slower")[0]
    assert numpy.split(":", 1)[1].strip() == "- up to 10,000: `median` 0.50."


def test_check_finds_an_edit_and_writes_nothing(root):
    with pytest.raises(SystemExit, match=r"README.md and bench/RESULTS.md: not what"):
        SCRIPT["main"](["--check"], root)
    SCRIPT["main"]([], root)
    SCRIPT["main"](["--check"], root)
    readme = root / "README.md"
    edited = readme.read_text().replace("4.0", "9.0", 1)
    readme.write_text(edited)
    with pytest.raises(SystemExit, match=r"^README.md: not what"):
        SCRIPT["main"](["--check"], root)
    assert readme.read_text() == edited


def test_errors_say_what_is_missing(root):
    path = root / "bench/results/prune.json"
    path.write_text(path.read_text().replace("prune.2:4", "prune.3:4"))
    with pytest.raises(SystemExit, match=r"prune.json lacks prune.2:4\[3072x3072-float32\] at 2"):
        SCRIPT["main"]([], root)
    with pytest.raises(SystemExit, match="Needs\nnothing installed"):
        SCRIPT["main"](["--chek"], root)


def test_markers_are_needed(root):
    readme = root / "README.md"
    readme.write_text(readme.read_text().replace("<!-- end of losses -->", ""))
    with pytest.raises(SystemExit, match=r"README.md needs .* and <!-- end of losses --> once"):
        SCRIPT["main"]([], root)
