"""DepthwiseConv2d: a filter of its own for each channel."""

from tinygrad_lab_layers.depthwise_conv2d.layer import DepthwiseConv2d

__all__ = ["DepthwiseConv2d"]
