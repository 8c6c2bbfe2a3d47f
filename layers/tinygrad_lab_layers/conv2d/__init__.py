"""Conv2d: a small filter slides over an image."""

from tinygrad_lab_layers.conv2d.layer import Conv2d

__all__ = ["Conv2d"]
