"""The valid uses of `Hardtanh`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, LayerCases, strategies


def reference(layer: Any, x: Any) -> Any:
    """Return x, or the bound that x exceeds."""
    low, high = layer.config()["low"], layer.config()["high"]
    return np.array([low if v < low else high if v > high else v for v in x.flat]).reshape(x.shape)


def kink_distance(layer: Any, x: Any) -> float:
    """Return the smallest distance of the values to a bound."""
    bounds = np.array([layer.config()["low"], layer.config()["high"]])
    return float(np.abs(x[..., None] - bounds).min(initial=np.inf))


cases = LayerCases(
    strategies.elementwise(
        st.fixed_dictionaries({"low": st.sampled_from((-1.0, -0.25, 0)), "high": st.sampled_from((1.0, 6))})
    ),
    reference=reference,
    kink_distance=kink_distance,
    laws=("elementwise", "monotone"),
    bad_inputs=(
        BadInput(options={"low": 1.0}, error=tgl.errors.OptionError, match="expected low < high, got 1.0 and 1.0"),
    ),
)
