"""Residual: a layer's result plus a shortcut of its input."""

from tinygrad_lab_layers.residual.layer import Residual

__all__ = ["Residual"]
