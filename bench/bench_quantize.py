"""Quantization against its peers: pytest bench/bench_quantize.py"""

from tersor_bench.cases.quantize import CASES
from tersor_bench.pytest import bench_cases

test_quantize = bench_cases(CASES)
