"""GELU: x, weighted by the share of a normal population that lies below it."""

from tinygrad_lab_layers.gelu.layer import GELU

__all__ = ["GELU"]
