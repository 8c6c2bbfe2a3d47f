"""Dense: every output is a weighted sum of all inputs."""

from tinygrad_lab_layers.dense.layer import Dense

__all__ = ["Dense"]
