"""BatchNorm: each channel normalized by its mean and variance over the batch."""

from tinygrad_lab_layers.batch_norm.layer import BatchNorm

__all__ = ["BatchNorm"]
