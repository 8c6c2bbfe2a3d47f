"""The valid uses of `AvgPool2d`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, LayerCases, strategies
from tinygrad_lab_layers.window_reference import Grid


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw windows that overlap or leave gaps, padding narrower than the window, and whether padding is counted."""
    kernel_size = draw(strategies.windows())
    narrow = strategies.explicit_paddings(min(strategies.as_pair(kernel_size)) - 1)
    options = {
        "stride": draw(st.one_of(st.none(), strategies.strides())),
        "padding": draw(st.one_of(st.sampled_from(("same", "valid")), narrow)),
        "count_include_pad": draw(st.booleans()),
    }
    size = [k + draw(st.integers(0, 4)) for k in strategies.as_pair(kernel_size)]
    shape = (draw(strategies.batch_sizes(2)), *size, draw(strategies.channels(1, 3)))
    return Case(args=(kernel_size,), options=options, inputs=(Input(shape),))


def reference(layer: Any, x: Any) -> Any:
    """Return the mean of each window's pixels, with or without the zeros outside of the map."""
    config, grid = layer.config(), Grid(x.shape[1:3], layer.config())
    out = np.empty((x.shape[0], *grid.shape, x.shape[3]))
    for p, q in grid.places():
        pixels = [pixel for _, pixel in grid.elements((p, q))]
        inside = [x[:, row, column] for row, column in pixels if grid.inside((row, column))]
        out[:, p, q] = sum(inside) / (len(pixels) if config["count_include_pad"] else len(inside))
    return out


cases = LayerCases(
    draw_case(),
    reference=reference,
    complex_safe=True,
    examples=(Case(args=((1, 2),), options={"stride": 3}, inputs=(Input((1, 4, 5, 1)),)),),  # pixels in no window
    laws=("linear", "batch_independent", "channel_independent", "shift_equivariant", "monotone"),
    bad_inputs=(
        BadInput(args=(2,), inputs=((4, 4, 1),), error=tgl.errors.ShapeError, match=r"expected images \(N, H, W, C\)"),
        BadInput(
            args=(3,),
            inputs=((1, 2, 2, 1),),
            error=tgl.errors.ShapeError,
            match=r"AvgPool2d\(3\): expected a map of at least 3x3 for the window, got 2x2",
        ),
        BadInput(args=(1,), inputs=((1, 0, 4, 1),), error=tgl.errors.ShapeError, match="at least one pixel"),
        BadInput(args=(2,), options={"padding": 2}, error=tgl.errors.OptionError, match="narrower than the window"),
        BadInput(args=(2,), options={"stride": 0}, error=tgl.errors.OptionError, match="stride: expected"),
        BadInput(args=(0,), error=tgl.errors.OptionError, match="kernel_size: expected"),
    ),
)
