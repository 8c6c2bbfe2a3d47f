"""The valid uses of `Tanh`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_lab.conformance import Law, LayerCases, strategies


def reference(layer: Any, x: Any) -> Any:
    """Return 1 - 2 / (e^2x + 1)."""
    return np.array([1 - 2 / (math.exp(2 * v) + 1) for v in x.flat]).reshape(x.shape)


def odd(layer: Any, x: Any) -> float:
    """Return how far the result for -x is from the negative result for x."""
    return float(np.abs(layer(x) + layer(-x)).max(initial=0.0))


cases = LayerCases(
    strategies.elementwise(),
    reference=reference,
    complex_safe=True,
    laws=("elementwise", "monotone", Law("odd", odd, formula="y(-x) = -y(x)")),
)
