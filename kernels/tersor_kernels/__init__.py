"""The kernels behind tersor: one folder a backend, one module an op. Use them through `tersor`."""
