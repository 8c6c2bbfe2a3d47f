"""LayerNorm: each row normalized by its own mean and variance."""

from tinygrad_lab_layers.layer_norm.layer import LayerNorm

__all__ = ["LayerNorm"]
