"""MultiHeadAttention: a mean of the values for each query, weighted by the match of their keys."""

from tinygrad_lab_layers.multi_head_attention.layer import MultiHeadAttention

__all__ = ["MultiHeadAttention"]
