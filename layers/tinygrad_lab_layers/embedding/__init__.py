"""Embedding: a vector for each of a number of things."""

from tinygrad_lab_layers.embedding.layer import Embedding

__all__ = ["Embedding"]
