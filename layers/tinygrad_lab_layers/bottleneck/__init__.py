"""Bottleneck: a residual block that computes with fewer channels than it carries."""

from tinygrad_lab_layers.bottleneck.layer import Bottleneck

__all__ = ["Bottleneck"]
