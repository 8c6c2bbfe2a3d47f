"""LeakyReLU: negative numbers are multiplied by a small slope."""

from tinygrad_lab_layers.leaky_relu.layer import LeakyReLU

__all__ = ["LeakyReLU"]
