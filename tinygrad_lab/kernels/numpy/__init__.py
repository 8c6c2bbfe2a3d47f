"""Kernels in NumPy: a block at a time, so that what is worked on stays in the cache."""

from tinygrad_lab.kernels.numpy import convolution, matmul, pointwise, pooling

__all__ = ["convolution", "matmul", "pointwise", "pooling"]
