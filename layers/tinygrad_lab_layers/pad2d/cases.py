"""The valid uses of `Pad2d`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, LayerCases, strategies
from tinygrad_lab_layers.window_reference import axis_padding


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw a border of any form and a mode."""
    options = {"mode": draw(st.sampled_from(("zero", "edge")))}
    shape = draw(strategies.image_shapes(4))
    return Case(args=(draw(strategies.explicit_paddings()),), options=options, inputs=(Input(shape),))


def reference(layer: Any, x: Any) -> Any:
    """Return the padded pixels; with mode "edge" a border pixel is a copy of the nearest pixel of the image."""
    config, (height, width) = layer.config(), x.shape[1:3]
    (top, bottom), (left, right) = (axis_padding(config["padding"], axis, 0, 1, 1) for axis in (0, 1))
    out = np.zeros((x.shape[0], height + top + bottom, width + left + right, x.shape[3]))
    for h, w in np.ndindex(out.shape[1:3]):
        row, column = min(max(h - top, 0), height - 1), min(max(w - left, 0), width - 1)
        if config["mode"] == "edge" or (row, column) == (h - top, w - left):
            out[:, h, w] = x[:, row, column]
    return out


cases = LayerCases(
    draw_case(),
    reference=reference,
    complex_safe=True,
    examples=tuple(
        Case(args=(((1, 2), (0, 1)),), options={"mode": mode}, inputs=(Input((1, 2, 3, 2)),))
        for mode in ("zero", "edge")
    ),
    laws=("linear", "batch_independent", "channel_independent"),
    bad_inputs=(
        BadInput(args=(1,), inputs=((4, 4, 1),), error=tgl.errors.ShapeError, match=r"expected images \(N, H, W, C\)"),
        BadInput(
            args=(1,),
            options={"mode": "edge"},
            inputs=((1, 0, 4, 1),),
            error=tgl.errors.ShapeError,
            match="at least one pixel",
        ),
        BadInput(args=(-1,), error=tgl.errors.OptionError, match="Pad2d: padding: expected a whole number"),
        BadInput(args=("same",), error=tgl.errors.OptionError, match="padding in numbers, got 'same'"),
        BadInput(args=(1,), options={"mode": "wrap"}, error=tgl.errors.OptionError, match="got 'wrap'"),
    ),
)
