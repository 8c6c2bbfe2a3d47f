"""The valid uses of `SpatialDropout2d`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, Law, LayerCases, strategies


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw a rate and images."""
    rate = draw(st.sampled_from((0.0, 0.25, 0.5, 0.9)))
    return Case(args=(rate,), inputs=(Input(draw(strategies.image_shapes())),))


def whole_planes(layer: Any, x: Any) -> float:
    """Return the distance of each plane from 0 or its scaled value; in evaluation, from itself."""
    y = np.asarray(layer(x))
    if not layer.training:
        return float(np.abs(y - x).max())
    dropped = np.abs(y).max(axis=(1, 2))
    kept = np.abs(y - x / (1 - layer.config()["rate"])).max(axis=(1, 2))
    return float(np.minimum(dropped, kept).max())


def statistics(layer: Any) -> None:
    """Check that the share of kept planes is 1 - p, and that images and steps have independent masks."""
    rate = layer.config()["rate"]
    kept = np.asarray(layer(np.ones((200, 1, 1, 200))))[:, 0, 0] > 0
    deviation = np.sqrt(rate * (1 - rate) / kept.size)
    assert abs(kept.mean() - (1 - rate)) <= 5 * deviation
    together = (kept[1:] & kept[:-1]).mean() - (1 - rate) ** 2
    assert abs(together) <= 10 * deviation
    again = np.asarray(layer(np.ones((200, 1, 1, 200))))[:, 0, 0] > 0
    assert rate == 0 or (again != kept).any()


cases = LayerCases(
    draw_case(),
    examples=(Case(args=(0.5,), inputs=(Input((3, 2, 2, 4)),)),),
    random=True,
    statistics=statistics,
    complex_safe=True,
    laws=(
        "linear",
        Law("whole_planes", whole_planes, formula="y[n, :, :, c] in {0, x[n, :, :, c] / (1 - p)}", training=True),
        Law("identity_in_evaluation", whole_planes, formula="y = x", training=False),
    ),
    bad_inputs=(
        BadInput(inputs=((4, 3),), error=tgl.errors.ShapeError, match=r"expected images \(N, H, W, C\), got"),
        BadInput(args=(1.0,), error=tgl.errors.OptionError, match="rate from 0 to below 1, got 1.0"),
    ),
)
