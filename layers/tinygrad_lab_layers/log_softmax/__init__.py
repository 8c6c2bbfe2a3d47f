"""LogSoftmax: scores become logarithms of probabilities."""

from tinygrad_lab_layers.log_softmax.layer import LogSoftmax

__all__ = ["LogSoftmax"]
