"""Upsample2d: a larger image with the same content."""

from tinygrad_lab_layers.upsample2d.layer import Upsample2d

__all__ = ["Upsample2d"]
