"""The valid uses of `SELU`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import ndtr

from tinygrad_lab.conformance import LayerCases, strategies


def constants() -> tuple[float, float]:
    """Return alpha and lambda from their definition: for standard normal x, y has mean 0 and variance 1."""
    above = 1 / math.sqrt(2 * math.pi)  # E[x; x > 0]
    below = math.exp(0.5) * ndtr(-1) - 0.5  # E[e^x - 1; x <= 0]
    square_below = math.exp(2) * ndtr(-2) - 2 * math.exp(0.5) * ndtr(-1) + 0.5  # E[(e^x - 1)^2; x <= 0]
    alpha = -above / below
    return alpha, 1 / math.sqrt(0.5 + alpha**2 * square_below)


def reference(layer: Any, x: Any) -> Any:
    """Return lambda x where x is positive and lambda alpha (e^x - 1) elsewhere."""
    alpha, scale = constants()
    return np.array([scale * (v if v > 0 else alpha * (math.exp(v) - 1)) for v in x.flat]).reshape(x.shape)


def kink_distance(layer: Any, x: Any) -> float:
    """Return the smallest distance of the values to 0."""
    return float(np.abs(x).min(initial=np.inf))


cases = LayerCases(
    strategies.elementwise(),
    reference=reference,
    kink_distance=kink_distance,
    laws=("elementwise", "monotone"),
)
