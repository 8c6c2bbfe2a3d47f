"""Embedding: a learned vector for each number, such as a word's."""

from tinygrad_lab_layers.embedding.layer import Embedding

__all__ = ["Embedding"]
