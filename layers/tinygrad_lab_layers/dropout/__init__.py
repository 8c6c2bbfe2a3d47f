"""Dropout: random elements are set to 0 in training."""

from tinygrad_lab_layers.dropout.layer import Dropout

__all__ = ["Dropout"]
