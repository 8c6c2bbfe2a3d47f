"""The valid uses of `Conv2d`."""

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
    groups = draw(st.integers(1, 3))
    channels = [groups * draw(st.integers(1, 2)) for _ in ("in", "out")]
    kernel_size, dilation = draw(strategies.windows()), draw(strategies.dilations())
    options = {
        "kernel_size": kernel_size,
        "stride": draw(strategies.strides()),
        "padding": draw(strategies.paddings()),
        "padding_mode": draw(st.sampled_from(("zero", "edge"))),
        "dilation": dilation,
        "groups": groups,
        "bias": draw(st.booleans()),
        "activation": draw(st.sampled_from((None, "relu"))),
        "init": draw(st.sampled_from(("he_normal", "glorot_uniform", 0.5))),
    }
    pairs = zip(strategies.as_pair(kernel_size), strategies.as_pair(dilation), strict=True)
    size = [(k - 1) * d + 1 + draw(st.integers(0, 3)) for k, d in pairs]
    return Case(args=tuple(channels), options=options, inputs=(Input((draw(st.integers(1, 2)), *size, channels[0])),))


def _sums(layer: Any, x: Any) -> Any:
    """Return the convolution by its formula: a loop over every output and every pixel of its window."""
    config, state = layer.config(), layer.state()
    weight, bias, grid = state["weight"], state.get("bias"), Grid(x.shape[1:3], config)
    depth, outputs = weight.shape[2:]
    sums = np.zeros((x.shape[0], *grid.shape, outputs))
    for p, q in grid.places():
        for element, pixel in grid.elements((p, q)):
            if config["padding_mode"] == "edge":
                pixel = grid.nearest(pixel)
            if not grid.inside(pixel):
                continue
            for o in range(outputs):
                first = o // (outputs // config["groups"]) * depth
                for c in range(depth):
                    sums[:, p, q, o] += x[:, *pixel, first + c] * weight[*element, c, o]
    return sums if bias is None else sums + bias


reference, kink_distance = activated(_sums)


cases = LayerCases(
    draw_case(),
    reference=reference,
    kink_distance=kink_distance,
    examples=(  # rare in random draws: more padding on one side, a stride that skips pixels, a dilation for each axis
        Case(args=(1, 2), options={"kernel_size": (2, 3), "padding": "same"}, inputs=(Input((2, 3, 3, 1)),)),
        Case(
            args=(2, 2),
            options={"kernel_size": 2, "stride": 3, "padding": ((0, 1), (1, 0)), "groups": 2, "activation": "relu"},
            inputs=(Input((1, 4, 4, 2)),),
        ),
        Case(args=(1, 1), options={"kernel_size": 2, "dilation": (1, 2)}, inputs=(Input((1, 4, 4, 1)),)),
    ),
    laws=("batch_independent", "shift_equivariant"),
    bad_inputs=(
        BadInput(
            args=(3, 2),
            options={"kernel_size": 3},
            inputs=((1, 8, 8, 4),),
            error=tgl.errors.ShapeError,
            match=r"\(N, H, W, 3\)",
        ),
        BadInput(
            args=(3, 2),
            options={"kernel_size": 3},
            inputs=((8, 8, 3),),
            error=tgl.errors.ShapeError,
            match=r"\(N, H, W, 3\)",
        ),
        BadInput(
            args=(128, 128),
            options={"kernel_size": 3},
            inputs=((1, 1, 1, 128),),
            error=tgl.errors.ShapeError,
            match=r"Conv2d\(128 -> 128, kernel_size=3\): expected a map of at least 3x3 for the window, got 1x1",
        ),
        BadInput(
            args=(1, 1),
            options={"kernel_size": 1, "padding": 1, "padding_mode": "edge"},
            inputs=((1, 0, 2, 1),),
            error=tgl.errors.ShapeError,
            match="at least one pixel",
        ),
        BadInput(
            args=(3, 2),
            options={"kernel_size": 3, "groups": 2},
            error=tgl.errors.OptionError,
            match="groups that divide",
        ),
        BadInput(
            args=(3, 2),
            options={"kernel_size": 0},
            error=tgl.errors.OptionError,
            match="kernel_size: expected a whole number",
        ),
        BadInput(
            args=(3, 2), options={"kernel_size": 3, "stride": 0}, error=tgl.errors.OptionError, match="stride: expected"
        ),
        BadInput(
            args=(3, 2),
            options={"kernel_size": 3, "dilation": 0},
            error=tgl.errors.OptionError,
            match="dilation: expected",
        ),
        BadInput(
            args=(3, 2),
            options={"kernel_size": 3, "padding": -1},
            error=tgl.errors.OptionError,
            match="padding: expected",
        ),
        BadInput(
            args=(3, 2),
            options={"kernel_size": 3, "padding": "full"},
            error=tgl.errors.OptionError,
            match="'same', 'valid'",
        ),
        BadInput(
            args=(3, 2),
            options={"kernel_size": 3, "padding_mode": "wrap"},
            error=tgl.errors.OptionError,
            match="'zero' or 'edge'",
        ),
        BadInput(
            args=(3, 2),
            options={"kernel_size": 3, "activation": "tanh"},
            error=tgl.errors.OptionError,
            match="'relu' or None",
        ),
    ),
)
