"""Conv2dTranspose: a convolution's gradient, used as a layer."""

from tinygrad_lab_layers.conv2d_transpose.layer import Conv2dTranspose

__all__ = ["Conv2dTranspose"]
