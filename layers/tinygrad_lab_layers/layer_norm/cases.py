"""The valid uses of `LayerNorm`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, LayerCases, strategies


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw one or several axes to normalize, and rows."""
    features = draw(st.one_of(st.integers(2, 5), strategies.shapes(1, 2, 4)))
    last = (features,) if isinstance(features, int) else features
    options = {"eps": draw(st.sampled_from((1e-5, 1e-3, 0.1)))}
    return Case(args=(features,), options=options, inputs=(Input((*draw(strategies.shapes(1, 2, 3)), *last)),))


def reference(layer: Any, x: Any) -> Any:
    """Return the normalized rows, scaled and shifted."""
    state, out = layer.state(), np.empty_like(x)
    for row in np.ndindex(x.shape[: x.ndim - state["scale"].ndim]):
        values = [float(v) for v in x[row].reshape(-1)]
        mean = sum(values) / len(values)
        variance = sum((v - mean) ** 2 for v in values) / len(values)
        out[row] = state["scale"] * (x[row] - mean) / (variance + layer.config()["eps"]) ** 0.5 + state["shift"]
    return out


cases = LayerCases(
    draw_case(),
    reference=reference,
    complex_safe=True,
    laws=("batch_independent",),
    bad_inputs=(
        BadInput(args=(3,), inputs=((2, 4),), error=tgl.errors.ShapeError, match=r"expected last axes \(3,\), got"),
        BadInput(args=((2, 3),), inputs=((3,),), error=tgl.errors.ShapeError, match=r"expected last axes \(2, 3\)"),
        BadInput(args=(3,), options={"eps": 0.0}, error=tgl.errors.OptionError, match="eps > 0"),
        BadInput(args=(0,), error=tgl.errors.OptionError, match="positive numbers of features"),
        BadInput(args=((),), error=tgl.errors.OptionError, match="positive numbers of features"),
    ),
)
