"""Inception: convolutions with windows of several sizes side by side."""

from tinygrad_lab_layers.inception.layer import Inception

__all__ = ["Inception"]
