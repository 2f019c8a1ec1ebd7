"""CUDA C++ through CuPy, for NVIDIA GPUs."""
