"""The valid uses of `Sigmoid`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_lab.conformance import Law, LayerCases, strategies


def reference(layer: Any, x: Any) -> Any:
    """Return 1 / (1 + e^-x)."""
    return np.array([1 / (1 + math.exp(-v)) for v in x.flat]).reshape(x.shape)


def complementary(layer: Any, x: Any) -> float:
    """Return how far the probabilities of x and -x are from adding up to 1."""
    return float(np.abs((layer(x) + layer(-x)) - 1.0).max(initial=0.0))


cases = LayerCases(
    strategies.elementwise(),
    reference=reference,
    complex_safe=True,
    laws=("elementwise", "monotone", Law("complementary", complementary, formula="sigma(x) + sigma(-x) = 1")),
)
