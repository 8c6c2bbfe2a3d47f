"""The valid uses of `ReLU`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lab.conformance import LayerCases, strategies


def reference(layer: Any, x: Any) -> Any:
    """Return x where it is positive and 0 elsewhere."""
    return np.array([v if v > 0 else 0.0 for v in x.flat]).reshape(x.shape)


def kink_distance(layer: Any, x: Any) -> float:
    """Return the smallest distance of the values to 0."""
    return float(np.abs(x).min(initial=np.inf))


cases = LayerCases(
    strategies.elementwise(),
    reference=reference,
    kink_distance=kink_distance,
    laws=("elementwise", "monotone", "positively_homogeneous"),
)
