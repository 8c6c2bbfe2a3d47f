"""The valid uses of `AdaptiveAvgPool2d`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, LayerCases, strategies


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw maps that are larger and smaller than the grid."""
    return Case(args=(draw(strategies.pairs(1, 4)),), inputs=(Input(draw(strategies.image_shapes())),))


def reference(layer: Any, x: Any) -> Any:
    """Return the mean of the pixels that each window touches."""
    rows, columns = strategies.as_pair(layer.config()["size"])
    n, height, width, channels = x.shape
    out = np.empty((n, rows, columns, channels))
    for p in range(rows):
        for q in range(columns):
            h = range(math.floor(p * height / rows), math.ceil((p + 1) * height / rows))
            w = range(math.floor(q * width / columns), math.ceil((q + 1) * width / columns))
            pixels = [x[:, i, j] for i in h for j in w]
            out[:, p, q] = sum(pixels) / len(pixels)
    return out


cases = LayerCases(
    draw_case(),
    reference=reference,
    complex_safe=True,
    laws=("linear", "batch_independent", "channel_independent", "monotone"),
    bad_inputs=(
        BadInput(args=(2,), inputs=((4, 3),), error=tgl.errors.ShapeError, match=r"expected images \(N, H, W, C\)"),
        BadInput(args=(2,), inputs=((1, 0, 2, 3),), error=tgl.errors.ShapeError, match="at least one pixel"),
        BadInput(args=(0,), error=tgl.errors.OptionError, match="size: expected a whole number of at least 1"),
    ),
)
