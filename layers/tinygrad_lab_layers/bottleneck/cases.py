"""The valid uses of `Bottleneck`."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, LayerCases, kink_distance_of, reference_of, strategies
from tinygrad_lab_layers.residual.cases import shortcut

SHORTCUTS = ("identity", "padded", "projected", None)


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw every shortcut, with a change of shape where it allows one.

    Batch normalization removes a filter's scale. A filter with a single weight, or a map with two pixels, then has a
    gradient that is 0 up to rounding. Cases therefore have at least two channels and a few pixels.
    """
    width, expansion, kind = 2, draw(st.integers(1, 2)), draw(st.sampled_from(SHORTCUTS))
    in_channels = expansion * width if kind == "identity" else draw(st.integers(2, expansion * width))
    stride = 1 if kind == "identity" else draw(st.sampled_from((1, 2)))
    options = {"expansion": expansion, "stride": stride, "shortcut": kind}
    shape = (2, *draw(strategies.image_sizes(stride + 1, stride + 2)), in_channels)
    return Case(args=(in_channels, width), options=options, inputs=(Input(shape),))


def reference(layer: Any, x: Any) -> Any:
    """Return the three convolutions and the shortcut, each by its own reference, in the order of the figure."""
    y = x
    for name in ("reduce", "window", "expand"):
        y = reference_of(layer.block.inner[f"{name}_norm"], reference_of(layer.block.inner[name], y))
        y = y * (y > 0) if name != "expand" else y
    y = y + shortcut(layer.block, x)
    return y * (y > 0)


def kink_distance(layer: Any, x: Any) -> float:
    """Return the smallest distance of the three activations to their kinks."""
    return kink_distance_of(layer.block, x)


cases = LayerCases(
    draw_case(),
    reference=reference,
    kink_distance=kink_distance,
    margin=0.002,
    bad_inputs=(
        BadInput(args=(2, 1), inputs=((1, 3, 3, 3),), error=tgl.errors.ShapeError, match=r"images \(N, H, W, 2\)"),
        BadInput(args=(0, 1), error=tgl.errors.OptionError, match="numbers of at least 1, got in_channels=0"),
        BadInput(
            args=(2, 1), options={"shortcut": "identity"}, error=tgl.errors.OptionError, match="neither channels nor"
        ),
        BadInput(
            args=(5, 1), options={"shortcut": "padded"}, error=tgl.errors.OptionError, match="at least as many channels"
        ),
    ),
)
