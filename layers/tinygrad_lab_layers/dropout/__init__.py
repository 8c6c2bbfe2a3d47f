"""Dropout: random elements are left out of training."""

from tinygrad_lab_layers.dropout.layer import Dropout

__all__ = ["Dropout"]
