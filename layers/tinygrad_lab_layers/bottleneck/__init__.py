"""Bottleneck: a residual block whose middle convolution has fewer channels than its input and output."""

from tinygrad_lab_layers.bottleneck.layer import Bottleneck

__all__ = ["Bottleneck"]
