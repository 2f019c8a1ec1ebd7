"""Pruning against its peers: pytest bench/bench_prune.py"""

from tersor_bench.cases.prune import CASES
from tersor_bench.pytest import bench_cases

test_prune = bench_cases(CASES)
