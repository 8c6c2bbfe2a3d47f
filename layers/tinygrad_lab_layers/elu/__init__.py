"""ELU: negative numbers saturate smoothly."""

from tinygrad_lab_layers.elu.layer import ELU

__all__ = ["ELU"]
