"""Kernels for NVIDIA GPUs, by CuPy and cuDNN; registered here, imported and compiled when they are first used.

Importing this package imports neither library. The sources of the raw kernels are in `sources`, one small file per
theme; `launch` compiles and launches them.
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
