"""Embedding: a learned vector for each number, such as the number of a word."""

from tinygrad_lab_layers.embedding.layer import Embedding

__all__ = ["Embedding"]
