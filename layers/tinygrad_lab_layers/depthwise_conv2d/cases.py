"""The valid uses of `DepthwiseConv2d`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, LayerCases, strategies
from tinygrad_lab_layers.activation_reference import activated
from tinygrad_lab_layers.window_reference import Grid


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw every option, and a map that is at least as large as the window."""
    channels, kernel_size, dilation = (
        draw(strategies.channels(1, 3)),
        draw(strategies.windows()),
        draw(strategies.dilations()),
    )
    options = {
        "kernel_size": kernel_size,
        "stride": draw(strategies.strides()),
        "padding": draw(strategies.paddings()),
        "padding_mode": draw(st.sampled_from(("zero", "edge"))),
        "dilation": dilation,
        "multiplier": draw(st.integers(1, 3)),
        "bias": draw(st.booleans()),
        "activation": draw(st.sampled_from((None, "relu"))),
        "init": draw(st.sampled_from(("he_normal", "lecun_normal", 0.5))),
    }
    pairs = zip(strategies.as_pair(kernel_size), strategies.as_pair(dilation), strict=True)
    size = [(k - 1) * d + 1 + draw(st.integers(0, 3)) for k, d in pairs]
    return Case(args=(channels,), options=options, inputs=(Input((draw(st.integers(1, 2)), *size, channels)),))


def _sums(layer: Any, x: Any) -> Any:
    """Return the filtered channels, one after the other."""
    config, state = layer.config(), layer.state()
    weight, multiplier, grid = state["weight"], config["multiplier"], Grid(x.shape[1:3], layer.config())
    sums = np.zeros((x.shape[0], *grid.shape, x.shape[3] * multiplier))
    sums += state.get("bias", 0.0)
    for p, q in grid.places():
        for (i, j), pixel in grid.elements((p, q)):
            if config["padding_mode"] == "edge":
                pixel = grid.nearest(pixel)
            if grid.inside(pixel):
                for c in range(x.shape[3]):
                    for o in range(c * multiplier, (c + 1) * multiplier):
                        sums[:, p, q, o] += x[:, *pixel, c] * weight[i, j, 0, o]
    return sums


reference, kink_distance = activated(_sums)


cases = LayerCases(
    draw_case(),
    reference=reference,
    kink_distance=kink_distance,
    laws=("batch_independent", "shift_equivariant"),
    bad_inputs=(
        BadInput(
            args=(3,),
            options={"kernel_size": 3},
            inputs=((1, 8, 8, 4),),
            error=tgl.errors.ShapeError,
            match="W, 3\\), got",
        ),
        BadInput(
            args=(2,),
            options={"kernel_size": 3},
            inputs=((1, 2, 2, 2),),
            error=tgl.errors.ShapeError,
            match=r"DepthwiseConv2d\(2 -> 2, kernel_size=3\): expected a map of at least 3x3 for the window, got 2x2",
        ),
        BadInput(args=(0,), options={"kernel_size": 3}, error=tgl.errors.OptionError, match="at least 1 channel"),
        BadInput(
            args=(2,), options={"kernel_size": 3, "multiplier": 0}, error=tgl.errors.OptionError, match="got 2 and 0"
        ),
        BadInput(
            args=(2,), options={"kernel_size": 3, "padding": "full"}, error=tgl.errors.OptionError, match="'same'"
        ),
    ),
)
