"""SiLU: x, weighted by its logistic function."""

from tinygrad_lab_layers.silu.layer import SiLU

__all__ = ["SiLU"]
