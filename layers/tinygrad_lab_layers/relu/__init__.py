"""ReLU: negative numbers become 0."""

from tinygrad_lab_layers.relu.layer import ReLU

__all__ = ["ReLU"]
