"""The valid uses of `Softplus`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Law, LayerCases, strategies


def reference(layer: Any, x: Any) -> Any:
    """Return log(1 + e^(beta x)) / beta."""
    beta = layer.config()["beta"]
    return np.array([math.log(1 + math.exp(beta * v)) / beta for v in x.flat]).reshape(x.shape)


def difference_is_x(layer: Any, x: Any) -> float:
    """Return the deviation of y(x) - y(-x) from x."""
    return float(np.abs(layer(x) - layer(-x) - x).max(initial=0.0))


cases = LayerCases(
    strategies.elementwise(st.fixed_dictionaries({"beta": st.sampled_from((1.0, 0.5, 3))})),
    reference=reference,
    laws=("elementwise", "monotone", Law("difference_is_x", difference_is_x, formula="y(x) - y(-x) = x")),
    bad_inputs=(BadInput(options={"beta": 0.0}, error=tgl.errors.OptionError, match="expected beta > 0, got 0.0"),),
)
