"""LocalResponseNorm: each channel divided by a function of its neighbors."""

from tinygrad_lab_layers.local_response_norm import kernels
from tinygrad_lab_layers.local_response_norm.layer import LocalResponseNorm

__all__ = ["LocalResponseNorm", "kernels"]
