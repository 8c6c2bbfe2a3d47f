"""The valid uses of `ELU`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, LayerCases, strategies


def reference(layer: Any, x: Any) -> Any:
    """Return x where it is positive and alpha (e^x - 1) elsewhere."""
    alpha = layer.config()["alpha"]
    return np.array([v if v > 0 else alpha * (math.exp(v) - 1) for v in x.flat]).reshape(x.shape)


def kink_distance(layer: Any, x: Any) -> float:
    """Return the smallest distance of the values to 0, where the second derivative jumps even for alpha = 1."""
    return float(np.abs(x).min(initial=np.inf))


cases = LayerCases(
    strategies.elementwise(st.fixed_dictionaries({"alpha": st.sampled_from((1.0, 0.3, 2))})),
    reference=reference,
    kink_distance=kink_distance,
    laws=("elementwise", "monotone"),
    bad_inputs=(
        BadInput(options={"alpha": 0.0}, error=tgl.errors.OptionError, match="expected alpha > 0, got 0.0"),
        BadInput(options={"alpha": math.nan}, error=tgl.errors.OptionError, match="expected alpha > 0, got nan"),
    ),
)
