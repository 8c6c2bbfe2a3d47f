"""BatchNorm: channels with the statistics of a batch taken out."""

from tinygrad_lab_layers.batch_norm.layer import BatchNorm

__all__ = ["BatchNorm"]
