"""AdaptiveAvgPool2d: means over windows whose size is chosen so that the map has a given size."""

from tinygrad_lab_layers.adaptive_avg_pool2d.layer import AdaptiveAvgPool2d

__all__ = ["AdaptiveAvgPool2d"]
