"""The valid uses of `MaxPool2d`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, LayerCases, strategies
from tinygrad_lab_layers.window_reference import Grid


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw windows that overlap or leave gaps, and padding narrower than the window."""
    kernel_size = draw(strategies.windows())
    narrow = strategies.explicit_paddings(min(strategies.as_pair(kernel_size)) - 1)
    options = {
        "stride": draw(st.one_of(st.none(), strategies.strides())),
        "padding": draw(st.one_of(st.sampled_from(("same", "valid")), narrow)),
    }
    size = [k + draw(st.integers(0, 4)) for k in strategies.as_pair(kernel_size)]
    shape = (draw(strategies.batch_sizes(2)), *size, draw(strategies.channels(1, 3)))
    return Case(args=(kernel_size,), options=options, inputs=(Input(shape, distinct=True),))


def reference(layer: Any, x: Any) -> Any:
    """Return the largest pixel of each window."""
    grid = Grid(x.shape[1:3], layer.config())
    out = np.empty((x.shape[0], *grid.shape, x.shape[3]))
    for p, q in grid.places():
        pixels = [pixel for _, pixel in grid.elements((p, q)) if grid.inside(pixel)]
        for n in range(x.shape[0]):
            for c in range(x.shape[3]):
                out[n, p, q, c] = max(x[n, row, column, c] for row, column in pixels)
    return out


def kink_distance(layer: Any, x: Any) -> float:
    """Return half of the smallest difference between the two largest pixels of a window."""
    grid, lead = Grid(x.shape[1:3], layer.config()), np.inf
    for place in grid.places():
        pixels = [pixel for _, pixel in grid.elements(place) if grid.inside(pixel)]
        ranked = np.sort([x[:, row, column] for row, column in pixels], axis=0)  # (pixels, N, C)
        if len(ranked) > 1:
            lead = min(lead, float((ranked[-1] - ranked[-2]).min(initial=np.inf)))
    return lead / 2


cases = LayerCases(
    draw_case(),
    reference=reference,
    kink_distance=kink_distance,
    laws=("batch_independent", "channel_independent", "shift_equivariant", "monotone"),
    margin=0.002,
    bad_inputs=(
        BadInput(args=(2,), inputs=((4, 4, 1),), error=tgl.errors.ShapeError, match=r"expected images \(N, H, W, C\)"),
        BadInput(
            args=(3,),
            inputs=((1, 2, 2, 1),),
            error=tgl.errors.ShapeError,
            match=r"MaxPool2d\(3\): expected a map of at least 3x3 for the window, got 2x2",
        ),
        BadInput(
            args=(2,),
            options={"padding": 1},
            inputs=((1, 0, 4, 1),),
            error=tgl.errors.ShapeError,
            match="at least one pixel",
        ),
        BadInput(
            args=(2,), options={"padding": 2}, error=tgl.errors.OptionError, match="padding narrower than the window"
        ),
        BadInput(
            args=(2,), options={"padding": "full"}, error=tgl.errors.OptionError, match="'same', 'valid' or numbers"
        ),
        BadInput(
            args=(2,), options={"stride": 0}, error=tgl.errors.OptionError, match="stride: expected a whole number"
        ),
        BadInput(args=(17,), error=tgl.errors.OptionError, match="at most 256 elements, got 17x17"),
        BadInput(args=((2, 0),), error=tgl.errors.OptionError, match="kernel_size: expected a whole number"),
    ),
)
