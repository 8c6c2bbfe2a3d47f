"""Softplus: a smooth ReLU."""

from tinygrad_lab_layers.softplus.layer import Softplus

__all__ = ["Softplus"]
