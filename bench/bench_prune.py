"""Pruning against its peers: pytest bench/bench_prune.py"""

from tersor_bench.pytest import bench_cases

from tersor_bench.cases.prune import CASES

test_prune = bench_cases(CASES)
