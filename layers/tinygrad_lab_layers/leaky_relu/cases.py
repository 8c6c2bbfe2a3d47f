"""The valid uses of `LeakyReLU`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.conformance import LayerCases, strategies


def reference(layer: Any, x: Any) -> Any:
    """Return x where it is positive and slope * x elsewhere."""
    slope = layer.config()["slope"]
    return np.array([v if v > 0 else slope * v for v in x.flat]).reshape(x.shape)


def kink_distance(layer: Any, x: Any) -> float:
    """Return the smallest distance of the values to 0."""
    return float(np.abs(x).min(initial=np.inf))


cases = LayerCases(
    strategies.elementwise(st.fixed_dictionaries({"slope": st.sampled_from((0.01, 0.2, 0.0))})),
    reference=reference,
    kink_distance=kink_distance,
    laws=("elementwise", "monotone", "positively_homogeneous"),
)
