"""AdaptiveAvgPool2d: means over windows that are chosen so that the result has a given size."""

from tinygrad_lab_layers.adaptive_avg_pool2d.layer import AdaptiveAvgPool2d

__all__ = ["AdaptiveAvgPool2d"]
