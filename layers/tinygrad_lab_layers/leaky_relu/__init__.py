"""LeakyReLU: what is negative passes in a small part."""

from tinygrad_lab_layers.leaky_relu.layer import LeakyReLU

__all__ = ["LeakyReLU"]
