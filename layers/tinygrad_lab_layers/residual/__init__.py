"""Residual: what a layer adds to its input."""

from tinygrad_lab_layers.residual.layer import Residual

__all__ = ["Residual"]
