"""What every CUDA kernel owes, by its jobs: no barrier too few or too many, no byte moved twice."""

import sys

import numpy as np
import pytest

ptx_emulator = pytest.importorskip("ptx_emulator")
if ptx_emulator.missing():
    pytest.skip(ptx_emulator.missing(), allow_module_level=True)

from cuda_jobs import JOBS  # noqa: E402
from cupy_standin import settings  # noqa: E402
from cupy_standin.adapter import mapped, to_device  # noqa: E402
from ptx_emulator.mutants import mutants  # noqa: E402

pytestmark = pytest.mark.emulated

ALL = [pytest.param(job, id=f"{stem}-{job.name}") for stem in JOBS for job in JOBS[stem]()]


def run(job):
    """The job's results as host arrays."""
    results = []

    def keep(x):
        if isinstance(x, sys.modules["cupy"].ndarray):
            results.append(x.get())
        return x

    mapped(keep, job.call(*map(to_device, job.arrays)))
    return results


def noted(job, monkeypatch):
    """The launches of a job, and its results."""
    monkeypatch.setattr(settings, "launches", [])
    return settings.launches, run(job)


@pytest.mark.parametrize("job", ALL)
def test_memory_traffic(job, emulated, monkeypatch):
    launches, _ = noted(job, monkeypatch)
    traffic = [line for launch in launches for line in launch.traffic]
    sectors = sum(line.transactions for line in traffic if line.space == "global")
    least = (
        job.arrays[0].nbytes * job.passes + sum(a.nbytes for a in job.arrays[1:])
    ) + job.written
    assert sectors * 32 <= job.sectors * least + 4096, _table(traffic, "global")
    shared = [line for line in traffic if line.space == "shared"]
    taken, ideal = sum(t.transactions for t in shared), sum(t.ideal for t in shared)
    assert taken <= job.wavefronts * ideal, _table(traffic, "shared")


def _table(traffic, space):
    """The lines that move more than they have to."""
    lines = [t for t in traffic if t.space == space]
    return "\n".join(
        f"{t.file}:{t.line} {t.instruction}: {t.transactions} for {t.ideal}"
        for t in sorted(lines, key=lambda t: t.ideal - t.transactions)
    )


@pytest.mark.parametrize("job", ALL)
def test_every_barrier_is_missed(job, emulated, monkeypatch):
    launches, want = noted(job, monkeypatch)
    modules = {launch.name: launch.module for launch in launches}
    monkeypatch.setattr(settings, "launches", None)
    for name, module in modules.items():
        for what, change in mutants(module.ptx, module.lowered[name]):
            monkeypatch.setattr(settings, "mutant", (name, change))
            assert differs(job, want), f"{name} does not need {what}"


def differs(job, want):
    """Whether a job fails, or gives something else."""
    try:
        got = run(job)
    except ptx_emulator.KernelError:
        return True
    return any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(got, want, strict=True))
