"""Kernels: faster forwards of operations, registered on import; see `tinygrad_lab.autograd.dispatch`.

Each provider has a package: `numpy`, `numba` (compiled code, preferred to NumPy's) and `cupy` (an NVIDIA GPU). They use
the same file names. The modules that they share are next to them. Importing these packages is fast: Numba, CuPy and
cuDNN are imported when a kernel is first used.
"""

from __future__ import annotations

from tinygrad_lab.kernels import cupy, numpy, numba  # isort: skip  # the last one registered is tried first
from tinygrad_lab.kernels.cost_model import using_tiles
from tinygrad_lab.kernels.threads import num_threads, using_threads

__all__ = ["cupy", "num_threads", "numba", "numpy", "using_threads", "using_tiles"]
