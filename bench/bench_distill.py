"""Softmax and distillation losses against their peers: pytest bench/bench_distill.py"""

from tersor_bench.cases.distill import CASES
from tersor_bench.pytest import bench_cases

test_distill = bench_cases(CASES)
