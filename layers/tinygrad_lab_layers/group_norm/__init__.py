"""GroupNorm: groups of channels of each image, normalized."""

from tinygrad_lab_layers.group_norm.layer import GroupNorm

__all__ = ["GroupNorm"]
