"""The valid uses of `Softmax`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, Law, LayerCases, strategies


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw a shape and one of its axes, counted from either end, and how far from 0 the scores lie."""
    shape, reach = draw(strategies.shapes()), draw(strategies.reaches())
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    return Case(options={"axis": axis}, inputs=(Input(shape, low=-reach, high=reach),))


def reference(layer: Any, x: Any) -> Any:
    """Return the normalized exponentials, row by row."""
    rows = np.moveaxis(x, layer.config()["axis"], -1)
    out = np.empty_like(rows)
    for row in np.ndindex(rows.shape[:-1]):
        powers = [math.exp(v) for v in rows[row]]
        out[row] = [power / math.fsum(powers) for power in powers]
    return np.moveaxis(out, -1, layer.config()["axis"])


def unit_sum(layer: Any, x: Any) -> float:
    """Return how far the sums along the axis are from 1."""
    return float(np.abs(tgl.sum(layer(x), layer.config()["axis"]) - 1).max())


def translation_invariant(layer: Any, x: Any) -> float:
    """Return how much the result changes when a constant, even a large one, is added to all scores of a row."""
    shift = 2000.0 * np.cos(np.arange(x.size)).reshape(x.shape).max(axis=layer.config()["axis"], keepdims=True)
    return float(np.abs(layer(x + shift) - layer(x)).max())


cases = LayerCases(
    draw_case(),
    reference=reference,
    complex_safe=True,  # the maximum that is subtracted cancels, whichever it is
    laws=(
        Law("unit_sum", unit_sum, formula="sum_k y_k = 1"),
        Law("translation_invariant", translation_invariant, formula="softmax(x + a) = softmax(x)"),
    ),
    bad_inputs=(
        BadInput(options={"axis": 2}, inputs=((3, 4),), error=tgl.errors.ShapeError, match="along axis 2"),
        BadInput(inputs=((3, 0),), error=tgl.errors.ShapeError, match="at least one score along axis -1"),
        BadInput(inputs=((),), error=tgl.errors.ShapeError, match="at least one score"),
    ),
)
