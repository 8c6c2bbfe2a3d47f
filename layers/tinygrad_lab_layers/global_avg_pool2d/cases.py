"""The valid uses of `GlobalAvgPool2d`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, LayerCases, strategies


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw images and whether their axes are kept."""
    return Case(options={"keepdims": draw(st.booleans())}, inputs=(Input(draw(strategies.image_shapes())),))


def reference(layer: Any, x: Any) -> Any:
    """Return the mean of each plane, pixel after pixel."""
    n, height, width, channels = x.shape
    total = np.zeros((n, channels))
    for h in range(height):
        for w in range(width):
            total += x[:, h, w]
    mean = total / (height * width)
    return mean.reshape(n, 1, 1, channels) if layer.config()["keepdims"] else mean


cases = LayerCases(
    draw_case(),
    reference=reference,
    complex_safe=True,
    laws=("linear", "batch_independent", "channel_independent", "monotone"),
    bad_inputs=(
        BadInput(inputs=((4, 3),), error=tgl.errors.ShapeError, match=r"expected images \(N, H, W, C\), got"),
        BadInput(inputs=((1, 0, 2, 3),), error=tgl.errors.ShapeError, match="at least one pixel"),
    ),
)
