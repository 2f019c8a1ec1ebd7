"""Time contenders against each other: interleaved, shuffled, checked first."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from statistics import median, quantiles
from typing import Any

SAMPLE = 0.002  # seconds: a sample repeats the call until it is long against clock and scheduler
FEWEST = 5  # rounds, unless fewer are asked for


@dataclass
class Timing:
    """Seconds a call: of the first call, compilation included, and of every later sample."""

    cold: float
    samples: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return median(self.samples)

    @property
    def spread(self) -> float:
        """Interquartile range over the median: what the machine's noise does to one sample."""
        low, _, high = quantiles(self.samples, n=4) if len(self.samples) > 1 else (0.0, 0.0, 0.0)
        return (high - low) / self.median


def interleave(
    calls: Mapping[str, Callable[[], Any]],
    *,
    rounds: int,
    check: Callable[[str, Any], None],
    seconds: float = inf,
    clock: Callable[[], float] = time.perf_counter,
    rng: random.Random | None = None,
) -> dict[str, Timing]:
    """Time each call once a round, in a new order each round, so that drift hits all alike.

    After `seconds` of it, no round begins but the first FEWEST.

    `check(name, result)` sees each call's first result before anything is timed; what it raises
    ends the comparison: a wrong answer has no time. So does a call that fails: RuntimeError.
    """
    rng = rng or random.Random(0)
    timings, repeats = {}, {}
    for name, call in calls.items():
        start = clock()
        try:
            result = call()
        except Exception as error:
            raise RuntimeError(f"{name} failed: {error!r}") from error
        timings[name] = Timing(cold=clock() - start)
        check(name, result)
        start = clock()
        call()
        repeats[name] = max(1, int(SAMPLE / max(clock() - start, 1e-9)))
    names = list(calls)
    begin = clock()
    for done in range(rounds):
        if done >= FEWEST and clock() - begin > seconds:
            break
        rng.shuffle(names)
        for name in names:
            call = calls[name]
            start = clock()
            for _ in range(repeats[name]):
                call()
            timings[name].samples.append((clock() - start) / repeats[name])
    return timings
