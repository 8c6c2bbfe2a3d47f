"""The corpus of planted bugs, gathered from the files that plant them."""

from __future__ import annotations

from tests.planted_bugs import activations, behaviour, functions, linear, normalisation, pooling
from tests.planted_bugs.planting import BUGS

FILES = (linear, normalisation, activations, pooling, behaviour, functions)

__all__ = ["BUGS", "FILES"]
