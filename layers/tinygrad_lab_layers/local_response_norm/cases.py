"""The valid uses of `LocalResponseNorm`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, LayerCases, strategies


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw every convention, one or several groups, odd and even sizes, and factors large enough to matter."""
    options = {
        "alpha": draw(st.sampled_from((1e-4, 0.1, 2.0))),
        "beta": draw(st.sampled_from((0.5, 0.75, 2.0))),
        "k": draw(st.sampled_from((0.5, 1.0, 2.0))),
        "groups": draw(st.sampled_from((1, 1, 2, 3))),
        "convention": draw(st.sampled_from(("paper", "divided", "pytorch", "tensorflow"))),
    }
    shape = (*draw(strategies.shapes(1, 3, 2)), draw(st.integers(1, 7)) * options["groups"])
    return Case(args=(draw(st.integers(1, 5)),), options=options, inputs=(Input(shape),))


def _counts(j: int, c: int, size: int, convention: str) -> bool:
    """Return whether channel j is in the sum of channel c."""
    if convention == "tensorflow":
        return abs(j - c) <= size
    if convention == "pytorch":
        first = c - size // 2
        return first <= j < first + size
    return abs(j - c) <= size // 2


def reference(layer: Any, x: Any) -> Any:
    """Return each channel divided by the power of its neighbors' sum, computed from the convention's definition."""
    config, out = layer.config(), np.empty_like(x)
    size, convention = config["size"], config["convention"]
    alpha = config["alpha"] / size if convention in ("divided", "pytorch") else config["alpha"]
    for c in range(x.shape[-1]):
        width = x.shape[-1] // config["groups"]
        group = range(c // width * width, (c // width + 1) * width)
        squares = sum(x[..., j] ** 2 for j in group if _counts(j, c, size, convention))
        out[..., c] = x[..., c] / (config["k"] + alpha * squares) ** config["beta"]
    return out


cases = LayerCases(
    draw_case(),
    reference=reference,
    complex_safe=True,
    examples=(Case(args=(2,), options={"alpha": 2.0, "convention": "pytorch"}, inputs=(Input((2, 3)),)),),  # asymmetric
    laws=("batch_independent",),
    bad_inputs=(
        BadInput(inputs=((),), error=tgl.errors.ShapeError, match="expected a last axis of channels"),
        BadInput(options={"groups": 2}, inputs=((4, 3),), error=tgl.errors.ShapeError, match="that 2 groups divide"),
        BadInput(options={"groups": 0}, error=tgl.errors.OptionError, match="at least one group, got 0"),
        BadInput(args=(0,), error=tgl.errors.OptionError, match="a positive size and k >= 0, got 0"),
        BadInput(options={"k": -1.0}, error=tgl.errors.OptionError, match="a positive size and k >= 0"),
        BadInput(options={"convention": "caffe"}, error=tgl.errors.OptionError, match="got 'caffe'"),
    ),
)
