"""GlobalAvgPool2d: the mean of each plane."""

from tinygrad_lab_layers.global_avg_pool2d.layer import GlobalAvgPool2d

__all__ = ["GlobalAvgPool2d"]
