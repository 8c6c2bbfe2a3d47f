"""The valid uses of `Dense`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, LayerCases, strategies
from tinygrad_lab_layers.activation_reference import activated


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw numbers of features, rows in any number of axes, and every option."""
    in_features, out_features = draw(strategies.features()), draw(strategies.features())
    rows = draw(strategies.shapes(1, 3, 3))
    options = {
        "bias": draw(st.booleans()),
        "activation": draw(st.sampled_from((None, "relu"))),
        "init": draw(st.sampled_from(("he_normal", "glorot_uniform", 0.5))),
    }
    return Case(args=(in_features, out_features), options=options, inputs=(Input((*rows, in_features)),))


def _sums(layer: Any, x: Any) -> Any:
    """Return x W + b, one product at a time."""
    state = layer.state()
    weight, bias = state["weight"], state.get("bias")
    sums = np.zeros((*x.shape[:-1], weight.shape[1]))
    for row in np.ndindex(x.shape[:-1]):
        for o in range(weight.shape[1]):
            sums[row][o] = sum(x[row][i] * weight[i, o] for i in range(weight.shape[0]))
            sums[row][o] += 0.0 if bias is None else bias[o]
    return sums


reference, kink_distance = activated(_sums)


cases = LayerCases(
    draw_case(),
    reference=reference,
    kink_distance=kink_distance,
    examples=(Case(args=(3, 2), inputs=(Input((1, 3)),)),),  # one row
    laws=("batch_independent",),
    bad_inputs=(
        BadInput(args=(3, 2), inputs=((4, 5),), error=tgl.errors.ShapeError, match="expected last axis 3, got 5"),
        BadInput(args=(3, 2), inputs=((),), error=tgl.errors.ShapeError, match="expected last axis 3, got none"),
        BadInput(args=(-1, 2), error=tgl.errors.OptionError, match="expected in_features and out_features >= 0"),
        BadInput(
            args=(3, 2),
            options={"activation": "tanh"},
            error=tgl.errors.OptionError,
            match="'relu' or None, got 'tanh'",
        ),
        BadInput(args=(3, 2), options={"init": "hen"}, error=tgl.errors.OptionError, match="got 'hen'"),
    ),
)
