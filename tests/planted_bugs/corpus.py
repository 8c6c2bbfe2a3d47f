"""The corpus of planted bugs, gathered from the files that plant them."""

from __future__ import annotations

from tests.planted_bugs import activations, behavior, functions, linear, normalization, pooling
from tests.planted_bugs.planting import BUGS

FILES = (linear, normalization, activations, pooling, behavior, functions)

__all__ = ["BUGS", "FILES"]
