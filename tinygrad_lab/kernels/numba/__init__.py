"""Kernels compiled by Numba, which is imported when one of them is first used; their loops are in `loops`."""

from tinygrad_lab.kernels.numba import convolution, normalization, pointwise, pooling

__all__ = ["convolution", "normalization", "pointwise", "pooling"]
