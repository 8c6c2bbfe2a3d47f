"""ReLU: what is positive passes."""

from tinygrad_lab_layers.relu.layer import ReLU

__all__ = ["ReLU"]
