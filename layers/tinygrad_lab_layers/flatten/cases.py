"""The valid uses of `Flatten`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, LayerCases, strategies


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw a shape and the first axis to join."""
    shape = draw(strategies.shapes(1, 4, 3))
    return Case(options={"start": draw(st.integers(0, len(shape)))}, inputs=(Input(shape),))


def reference(layer: Any, x: Any) -> Any:
    """Return each element at the position that its index gives, read as a mixed-radix number."""
    start = layer.config()["start"]
    kept, joined = x.shape[:start], x.shape[start:]
    out = np.empty((*kept, int(np.prod(joined))))
    for index in np.ndindex(x.shape):
        place = 0
        for i, length in zip(index[start:], joined, strict=True):
            place = place * length + i
        out[(*index[:start], place)] = x[index]
    return out


cases = LayerCases(
    draw_case(),
    reference=reference,
    complex_safe=True,
    laws=("linear",),
    bad_inputs=(
        BadInput(inputs=((),), error=tgl.errors.ShapeError, match="expected at least 1 axes"),
        BadInput(options={"start": -1}, error=tgl.errors.OptionError, match="start >= 0, got -1"),
    ),
)
