"""Flatten: an image becomes a vector."""

from tinygrad_lab_layers.flatten.layer import Flatten

__all__ = ["Flatten"]
