"""The valid uses of `GroupNorm`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, LayerCases, strategies


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw groups of one channel and of several, and images or rows."""
    groups, each = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    pixels = draw(st.sampled_from(((2, 2), (1, 3), (3,), ())))
    options = {"eps": draw(st.sampled_from((1e-5, 1e-3, 0.1)))}
    shape = (draw(strategies.batch_sizes()), *pixels, groups * each)
    return Case(args=(groups, groups * each), options=options, inputs=(Input(shape),))


def reference(layer: Any, x: Any) -> Any:
    """Return the normalized groups of each image, scaled and shifted channel by channel."""
    config, state, out = layer.config(), layer.state(), np.empty_like(x)
    each = config["channels"] // config["groups"]
    for n in range(x.shape[0]):
        for first in range(0, config["channels"], each):
            values = [float(v) for v in x[n, ..., first : first + each].reshape(-1)]
            mean = sum(values) / len(values)
            variance = sum((v - mean) ** 2 for v in values) / len(values)
            for c in range(first, first + each):
                scores = (x[n, ..., c] - mean) / (variance + config["eps"]) ** 0.5
                out[n, ..., c] = state["scale"][c] * scores + state["shift"][c]
    return out


cases = LayerCases(
    draw_case(),
    reference=reference,
    complex_safe=True,
    laws=("batch_independent",),
    bad_inputs=(
        BadInput(args=(2, 4), inputs=((2, 3),), error=tgl.errors.ShapeError, match=r"expected shape \(N, ..., 4\)"),
        BadInput(args=(2, 4), inputs=((2, 0, 2, 4),), error=tgl.errors.ShapeError, match="at least one pixel"),
        BadInput(args=(2, 3), error=tgl.errors.OptionError, match="got groups=2 and channels=3"),
        BadInput(args=(1, 0), error=tgl.errors.OptionError, match="got groups=1 and channels=0"),
        BadInput(args=(2, 4), options={"eps": 0.0}, error=tgl.errors.OptionError, match="expected eps > 0"),
    ),
)
