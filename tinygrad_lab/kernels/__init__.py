"""Kernels: faster forwards of operations, registered when this package is imported; see `tinygrad_lab.kernel`.

Importing it is light: compiled kernels import Numba when they are first used. `blocked` holds those in NumPy,
`convolution` those in compiled code, which go before them.
"""

from __future__ import annotations

from tinygrad_lab.kernels import blocked, convolution, normalisation, pointwise, pooling
from tinygrad_lab.kernels.choice import using_tiles
from tinygrad_lab.kernels.threads import num_threads, using_threads

__all__ = [
    "blocked",
    "convolution",
    "normalisation",
    "num_threads",
    "pointwise",
    "pooling",
    "using_threads",
    "using_tiles",
]
