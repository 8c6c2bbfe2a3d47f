"""Softmax: scores become probabilities."""

from tinygrad_lab_layers.softmax.layer import Softmax

__all__ = ["Softmax"]
