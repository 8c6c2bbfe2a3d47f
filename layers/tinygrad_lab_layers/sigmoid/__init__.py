"""Sigmoid: a number becomes a probability."""

from tinygrad_lab_layers.sigmoid.layer import Sigmoid

__all__ = ["Sigmoid"]
