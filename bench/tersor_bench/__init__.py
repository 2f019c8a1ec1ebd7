"""tersor's benchmarks: one table of cases, read by the tests, by pytest-benchmark and by sweeps."""
