"""The valid uses of `Inception`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, LayerCases, kink_distance_of, reference_of, strategies

WIDTHS = ("conv1x1", "reduce3x3", "conv3x3", "reduce5x5", "conv5x5", "pool_proj")


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw a small map and few channels for each convolution."""
    channels = draw(strategies.channels(1, 2))
    options = {width: draw(st.integers(1, 2)) for width in WIDTHS}
    shape = (draw(strategies.batch_sizes(2)), *draw(strategies.image_sizes(1, 3)), channels)
    return Case(args=(channels,), options=options, inputs=(Input(shape, distinct=True),))


def reference(layer: Any, x: Any) -> Any:
    """Return the branches of the figure from left to right, each layer by its own reference."""
    branch = layer.branches.children()
    paths = (
        (branch["1x1"],),
        (branch["3x3"]["reduce"], branch["3x3"]["conv"]),
        (branch["5x5"]["reduce"], branch["5x5"]["conv"]),
        (branch["pool"]["pool"], branch["pool"]["proj"]),
    )
    maps: list[Any] = []
    for path in paths:
        y = x
        for step in path:
            y = reference_of(step, y)
        maps.extend(y[..., c] for c in range(y.shape[3]))
    return np.stack(maps, axis=-1)


def kink_distance(layer: Any, x: Any) -> float:
    """Return the smallest distance of an activation or a maximum from its kink."""
    return kink_distance_of(layer.branches, x)


def bad(shape: Any, error: type[Exception], match: str, **changes: int) -> BadInput:
    """Return a wrong use of a small module."""
    options = dict.fromkeys(WIDTHS, 1) | changes
    return BadInput(args=(2,), options=options, inputs=(shape,) if shape else (), error=error, match=match)


cases = LayerCases(
    draw_case(),
    reference=reference,
    kink_distance=kink_distance,
    margin=0.0005,
    laws=("batch_independent",),
    bad_inputs=(
        bad((1, 3, 3, 3), tgl.errors.ShapeError, r"expected images \(N, H, W, 2\)"),
        bad((1, 0, 3, 2), tgl.errors.ShapeError, "at least one pixel"),
        bad((), tgl.errors.OptionError, "groups that divide the channels", reduce3x3=-1),
    ),
)
