"""Reductions against their peers: pytest bench/bench_reduce.py"""

from tersor_bench.cases.reduce import CASES
from tersor_bench.pytest import bench_cases

test_reduce = bench_cases(CASES)
