"""Compiled kernels. Importing a module of this package imports Numba."""
