"""Products of int8 matrices against their peers: pytest bench/bench_matmul_int8.py"""

from tersor_bench.cases.matmul_int8 import CASES
from tersor_bench.pytest import bench_cases

test_matmul_int8 = bench_cases(CASES)
