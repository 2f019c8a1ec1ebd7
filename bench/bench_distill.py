"""Softmax and distillation losses against their peers: pytest bench/bench_distill.py"""

from tersor_bench.pytest import bench_cases

from tersor_bench.cases.distill import CASES

test_distill = bench_cases(CASES)
