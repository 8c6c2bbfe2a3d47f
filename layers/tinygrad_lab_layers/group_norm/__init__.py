"""GroupNorm: each group of channels of each image normalized by its mean and variance."""

from tinygrad_lab_layers.group_norm.layer import GroupNorm

__all__ = ["GroupNorm"]
