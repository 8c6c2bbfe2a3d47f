"""AvgPool2d: the mean of each window."""

from tinygrad_lab_layers.avg_pool2d.layer import AvgPool2d

__all__ = ["AvgPool2d"]
