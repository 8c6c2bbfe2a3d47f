"""PReLU: a leaky unit whose slope is learned."""

from tinygrad_lab_layers.prelu.layer import PReLU

__all__ = ["PReLU"]
