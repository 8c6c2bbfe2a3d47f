"""AdaptiveAvgPool2d: means that make maps of a given size."""

from tinygrad_lab_layers.adaptive_avg_pool2d.layer import AdaptiveAvgPool2d

__all__ = ["AdaptiveAvgPool2d"]
