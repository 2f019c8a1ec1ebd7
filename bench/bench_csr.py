"""Sparse products against their peers: pytest bench/bench_csr.py"""

from tersor_bench.cases.csr import CASES
from tersor_bench.pytest import bench_cases

test_csr = bench_cases(CASES)
