"""The valid uses of `Reshape`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, LayerCases, strategies


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw the shape of the results, in some cases with -1, and an input shape with as many elements."""
    shape = draw(strategies.shapes(0, 3, 3))
    given = list(shape)
    if shape and draw(st.booleans()):
        given[draw(st.integers(0, len(shape) - 1))] = -1
    elements = int(np.prod(shape))
    flat = draw(st.sampled_from(((elements,), (1, elements), (*shape[::-1], 1))))
    return Case(args=(tuple(given),), inputs=(Input((draw(strategies.batch_sizes()), *flat)),))


def reference(layer: Any, x: Any) -> Any:
    """Return the elements in the order of increasing indices."""
    out = np.empty(layer.output_shape(x.shape))
    for index, place in zip(np.ndindex(x.shape), np.ndindex(out.shape), strict=True):
        out[place] = x[index]
    return out


cases = LayerCases(
    draw_case(),
    reference=reference,
    complex_safe=True,
    laws=("linear", "batch_independent"),
    bad_inputs=(
        BadInput(args=((2, 3),), inputs=((4, 5),), error=tgl.errors.ShapeError, match=r"fit into \(2, 3\), got 5"),
        BadInput(args=((2, -1),), inputs=((4, 5),), error=tgl.errors.ShapeError, match=r"fit into \(2, -1\), got 5"),
        BadInput(args=((0, -1),), inputs=((4, 5),), error=tgl.errors.ShapeError, match=r"fit into \(0, -1\), got 5"),
        BadInput(args=((),), inputs=((),), error=tgl.errors.ShapeError, match="the batch axis is not counted"),
        BadInput(args=((-1, -1),), error=tgl.errors.OptionError, match="at most one of them -1"),
        BadInput(args=((2, -2),), error=tgl.errors.OptionError, match="expected lengths of axes"),
    ),
)
