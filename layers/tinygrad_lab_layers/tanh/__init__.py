"""Tanh: a number is squeezed between -1 and 1."""

from tinygrad_lab_layers.tanh.layer import Tanh

__all__ = ["Tanh"]
