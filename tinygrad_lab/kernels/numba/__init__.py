"""Kernels compiled by Numba, which is imported when a kernel is first used. Their loops are in `loops`."""

from tinygrad_lab.kernels.numba import convolution, normalization, pointwise, pooling

__all__ = ["convolution", "normalization", "pointwise", "pooling"]
