"""Sequential: layers one after another. The class is the engine's; this folder holds its cases."""

from tinygrad_lab import Sequential

__all__ = ["Sequential"]
