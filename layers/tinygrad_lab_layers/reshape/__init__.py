"""Reshape: the same elements in another shape."""

from tinygrad_lab_layers.reshape.layer import Reshape

__all__ = ["Reshape"]
