"""Kernels in NumPy, which work on blocks that stay in the cache."""

from tinygrad_lab.kernels.numpy import convolution, matmul, pointwise, pooling

__all__ = ["convolution", "matmul", "pointwise", "pooling"]
