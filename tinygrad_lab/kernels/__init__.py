"""Kernels: faster forwards of operations, registered when this package is imported; see `tinygrad_lab.kernel`.

Importing it is light: compiled kernels import Numba when they are first used.
"""

from tinygrad_lab.kernels import blocked

__all__ = ["blocked"]
