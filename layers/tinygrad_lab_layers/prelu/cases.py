"""The valid uses of `PReLU`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, LayerCases, strategies


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw a shape, and one slope for each channel or for all."""
    shape, reach = draw(strategies.shapes()), draw(strategies.reaches())
    options = {"slope": draw(st.sampled_from((0.25, 0.5)))}
    args = (draw(st.sampled_from((1, shape[-1]))),)
    return Case(args=args, options=options, inputs=(Input(shape, low=-reach, high=reach),))


def reference(layer: Any, x: Any) -> Any:
    """Return x where it is positive and the channel's slope times x elsewhere."""
    slope, out = layer.state()["slope"], np.empty_like(x)
    for index in np.ndindex(x.shape):
        a = slope[0] if len(slope) == 1 else slope[index[-1]]
        out[index] = x[index] if x[index] > 0 else a * x[index]
    return out


def kink_distance(layer: Any, x: Any) -> float:
    """Return the smallest distance of the values to 0."""
    return float(np.abs(x).min(initial=np.inf))


cases = LayerCases(
    draw_case(),
    reference=reference,
    kink_distance=kink_distance,
    laws=("positively_homogeneous",),
    bad_inputs=(
        BadInput(args=(3,), inputs=((4, 2),), error=tgl.errors.ShapeError, match="expected last axis 3, got 2"),
        BadInput(args=(1,), inputs=((),), error=tgl.errors.ShapeError, match="expected last axis 1, got none"),
        BadInput(args=(-1,), error=tgl.errors.OptionError, match="expected channels >= 0, got -1"),
    ),
)
