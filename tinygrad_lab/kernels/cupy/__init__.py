"""Kernels for an NVIDIA GPU, by CuPy and cuDNN; registered here, imported and compiled when they are first used.

Importing this package imports neither. The sources of the raw kernels are in `sources`, one small file a theme; how
they are compiled and launched is in `launch`.
"""

from __future__ import annotations

from tinygrad_lab.kernels.cupy import convolution, launch, matmul, normalization, pointwise, pooling, shaping
from tinygrad_lab.kernels.cupy.options import GpuOptions, using_gpu_options

__all__ = [
    "GpuOptions",
    "convolution",
    "launch",
    "matmul",
    "normalization",
    "pointwise",
    "pooling",
    "shaping",
    "using_gpu_options",
]
