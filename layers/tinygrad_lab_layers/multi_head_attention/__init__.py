"""MultiHeadAttention: each query takes a mean of the values, weighted by the keys."""

from tinygrad_lab_layers.multi_head_attention.layer import MultiHeadAttention

__all__ = ["MultiHeadAttention"]
