"""LayerNorm: each row with its own mean and variance taken out."""

from tinygrad_lab_layers.layer_norm.layer import LayerNorm

__all__ = ["LayerNorm"]
