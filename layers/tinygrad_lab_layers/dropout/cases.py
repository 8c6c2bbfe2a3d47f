"""The valid uses of `Dropout`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, Law, LayerCases, strategies


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw a rate and a shape."""
    rate = draw(st.sampled_from((0.0, 0.1, 0.25, 0.5, 0.9)))
    return Case(args=(rate,), inputs=(Input(draw(strategies.shapes())),))


def kept_or_dropped(layer: Any, x: Any) -> float:
    """Return the distance of each element from 0 or its scaled value; in evaluation, from itself."""
    y = np.asarray(layer(x))
    if not layer.training:
        return float(np.abs(y - x).max())
    return float(np.minimum(np.abs(y), np.abs(y - x / (1 - layer.config()["rate"]))).max())


def statistics(layer: Any) -> None:
    """Check that the share of kept elements is 1 - p, and that neighbors and steps have independent masks."""
    rate = layer.config()["rate"]
    kept = np.asarray(layer(np.ones(40_000))) > 0
    deviation = np.sqrt(rate * (1 - rate) / kept.size)
    assert abs(kept.mean() - (1 - rate)) <= 5 * deviation
    together = (kept[1:] & kept[:-1]).mean() - (1 - rate) ** 2
    assert abs(together) <= 10 * deviation
    again = np.asarray(layer(np.ones(40_000))) > 0
    assert rate == 0 or (again != kept).any()


cases = LayerCases(
    draw_case(),
    random=True,
    statistics=statistics,
    complex_safe=True,
    laws=(
        "linear",
        Law("kept_or_dropped", kept_or_dropped, formula="y in {0, x / (1 - p)}", training=True),
        Law("identity_in_evaluation", kept_or_dropped, formula="y = x", training=False),
    ),
    bad_inputs=(
        BadInput(args=(1.0,), error=tgl.errors.OptionError, match="rate from 0 to below 1, got 1.0"),
        BadInput(args=(-0.1,), error=tgl.errors.OptionError, match="rate from 0 to below 1, got -0.1"),
    ),
)
