"""Top-k and order statistics against their peers: pytest bench/bench_select.py"""

from tersor_bench.cases.select import CASES
from tersor_bench.pytest import bench_cases

test_select = bench_cases(CASES)
