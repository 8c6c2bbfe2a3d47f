"""GELU: x times the normal distribution function of x."""

from tinygrad_lab_layers.gelu.layer import GELU

__all__ = ["GELU"]
