"""Kernels: faster forwards of operations, registered when this package is imported; see `tinygrad_lab.kernel`.

Importing it is light: compiled kernels import Numba when they are first used. Those in NumPy are in `blocked`,
`blocked_pointwise`, `blocked_pooling` and `matrices`; those in compiled code, which go before them, in the others;
those for an NVIDIA GPU in `gpu`.
"""

from __future__ import annotations

from tinygrad_lab.kernels import gpu  # isort: skip  # first, so that they come last where a kernel is looked for
from tinygrad_lab.kernels import (
    blocked,
    blocked_pointwise,
    blocked_pooling,
    convolution,
    matrices,
    normalisation,
    pointwise,
    pooling,
)
from tinygrad_lab.kernels.choice import using_tiles
from tinygrad_lab.kernels.threads import num_threads, using_threads

__all__ = [
    "blocked",
    "blocked_pointwise",
    "blocked_pooling",
    "convolution",
    "gpu",
    "matrices",
    "normalisation",
    "num_threads",
    "pointwise",
    "pooling",
    "using_threads",
    "using_tiles",
]
