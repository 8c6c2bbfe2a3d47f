"""Case helpers for layers with an activation: the reference and the distance to ReLU's kink."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def activated(sums: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., float]]:
    """Return `reference` and `kink_distance` of a layer that applies `activation` to sums(layer, *inputs)."""

    def reference(layer: Any, *inputs: Any) -> Any:
        """Return phi of the sums."""
        found = sums(layer, *inputs)
        return np.where(found < 0, 0.0, found) if layer.config()["activation"] == "relu" else found

    def kink_distance(layer: Any, *inputs: Any) -> float:
        """Return the smallest distance of the sums to ReLU's kink."""
        if layer.config()["activation"] is None:
            return np.inf
        return float(np.abs(sums(layer, *inputs)).min(initial=np.inf))

    return reference, kink_distance
