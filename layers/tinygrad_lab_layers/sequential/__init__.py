"""Sequential: layers one after another. The class is part of the engine; this folder contains its cases."""

from tinygrad_lab import Sequential

__all__ = ["Sequential"]
