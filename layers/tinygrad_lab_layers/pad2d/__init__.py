"""Pad2d: a border around an image."""

from tinygrad_lab_layers.pad2d.layer import Pad2d

__all__ = ["Pad2d"]
