"""Grades `residual`: a layer that is the identity if all its weights are 0."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.backend import Array
from tinygrad_lab.conformance import Case, Input, LayerCases, check_layer
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import LAYER_STEPS, PROFILE, Probe, Step


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw the sizes of a block, and its input."""
    features, hidden = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return Case(args=(features, hidden), inputs=(Input((draw(st.integers(1, 3)), features)),))


def between(layer: Any, x: Array) -> Array:
    """Return the input of the ReLU."""
    state = layer.state()
    return np.asarray(x @ state["first.weight"] + state["first.bias"])


def reference(layer: Any, x: Array) -> Array:
    """Return the block's result, computed from its weights."""
    state = layer.state()
    return np.asarray(x + np.maximum(between(layer, x), 0) @ state["second.weight"] + state["second.bias"])


def kink_distance(layer: Any, x: Array) -> float:
    """Return the smallest distance of the ReLU's inputs from 0."""
    return float(np.abs(between(layer, x)).min(initial=np.inf))


CASES = LayerCases(
    draw_case(),
    reference=reference,
    kink_distance=kink_distance,
    laws=("identity_at_zero_weights", "batch_independent"),
)


def steps(answer: Answer) -> list[Step]:
    """Return checks of the law, of the result and of the gradients."""

    def check(*properties: str) -> None:
        check_layer(answer.ResidualBlock, CASES, profile=PROFILE, properties=properties)

    return [
        Step("the identity where all weights are 0", lambda: check("identity_at_zero_weights")),
        Step("the result", lambda: check("reference", "batch_independent")),
        Step("gradients", lambda: check(*LAYER_STEPS)),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return a probe of a result for inputs of both signs."""
    x = np.array([[1.0, -2.0, 0.5], [-1.0, 0.3, 2.0]])
    return [lambda: answer.ResidualBlock(3, 5, rng=0).astype("float64")(x)]
