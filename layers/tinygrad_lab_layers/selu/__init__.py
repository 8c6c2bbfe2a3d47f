"""SELU: an exponential unit that keeps mean 0 and variance 1."""

from tinygrad_lab_layers.selu.layer import SELU

__all__ = ["SELU"]
