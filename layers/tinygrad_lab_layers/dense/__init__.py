"""Dense: every output sums over every input."""

from tinygrad_lab_layers.dense.layer import Dense

__all__ = ["Dense"]
