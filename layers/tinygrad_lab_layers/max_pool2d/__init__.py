"""MaxPool2d: the largest element of each window."""

from tinygrad_lab_layers.max_pool2d.layer import MaxPool2d

__all__ = ["MaxPool2d"]
