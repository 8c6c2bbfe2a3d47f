"""The valid uses of `Upsample2d`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, LayerCases, strategies


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw odd and even scales and both modes."""
    options = {"mode": draw(st.sampled_from(("nearest", "bilinear")))}
    shape = draw(strategies.image_shapes(4))
    return Case(args=(draw(strategies.pairs(1, 4)),), options=options, inputs=(Input(shape),))


def _sources(place: int, scale: int, length: int, mode: str) -> list[tuple[int, float]]:
    """Return the pixels that contribute to a pixel of the result along one axis, with their weights."""
    if mode == "nearest":
        return [(place // scale, 1.0)]
    source = min(max((place + 0.5) / scale - 0.5, 0.0), length - 1.0)
    low = math.floor(source)
    return [(low, 1.0 - (source - low)), (min(low + 1, length - 1), source - low)]


def reference(layer: Any, x: Any) -> Any:
    """Return for each pixel of the result the weighted mean of four pixels of x, or with "nearest" a single pixel."""
    config = layer.config()
    scale, (n, height, width, channels) = strategies.as_pair(config["scale"]), x.shape
    out = np.zeros((n, height * scale[0], width * scale[1], channels))
    for p, q in np.ndindex(out.shape[1:3]):
        for row, a in _sources(p, scale[0], height, config["mode"]):
            for column, b in _sources(q, scale[1], width, config["mode"]):
                out[:, p, q] += a * b * x[:, row, column]
    return out


cases = LayerCases(
    draw_case(),
    reference=reference,
    complex_safe=True,
    laws=("linear", "batch_independent", "channel_independent", "shift_equivariant", "monotone"),
    bad_inputs=(
        BadInput(args=(2,), inputs=((4, 3),), error=tgl.errors.ShapeError, match=r"expected images \(N, H, W, C\)"),
        BadInput(args=(2,), inputs=((1, 0, 2, 3),), error=tgl.errors.ShapeError, match="at least one pixel"),
        BadInput(args=(0,), error=tgl.errors.OptionError, match="scale: expected a whole number of at least 1"),
        BadInput(options={"mode": "cubic"}, error=tgl.errors.OptionError, match="'nearest' or 'bilinear', got 'cubic'"),
    ),
)
