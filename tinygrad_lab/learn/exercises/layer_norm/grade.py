"""Grades `layer_norm` as a layer: its parameters, its result and its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.backend import Array
from tinygrad_lab.conformance import Case, Input, LayerCases, check_layer
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import LAYER_STEPS, PROFILE, Probe, Step, expect


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw rows of some features."""
    features = draw(st.integers(1, 4))
    shape = (*draw(st.lists(st.integers(1, 3), min_size=1, max_size=2)), features)
    return Case(args=(features,), options={"eps": draw(st.sampled_from((0.1, 1e-3)))}, inputs=(Input(shape),))


def reference(layer: Any, x: Array) -> Array:
    """Return the normalized rows, computed one by one."""
    state, rows = layer.state(), x.reshape(-1, x.shape[-1])
    normal = [(row - row.mean()) / np.sqrt(row.var() + layer.config()["eps"]) for row in rows]
    return np.asarray(state["scale"] * np.stack(normal).reshape(x.shape) + state["shift"])


CASES = LayerCases(draw_case(), reference=reference, laws=("batch_independent",))


def has_parameters(answer: Answer) -> None:
    """Demand that the layer has the two parameters."""
    found = {path: p.shape for path, p in answer.LayerNorm(3).parameters().items()}
    expected = {"scale": (3,), "shift": (3,)}
    expect(found == expected, f"expected parameters {expected} of LayerNorm(3), got {found}")


def steps(answer: Answer) -> list[Step]:
    """Return checks of the parameters, the result and the gradients."""

    def check(*properties: str) -> None:
        check_layer(answer.LayerNorm, CASES, profile=PROFILE, properties=properties)

    return [
        Step("scale and shift are parameters", lambda: has_parameters(answer)),
        Step("the result, each row by itself", lambda: check("reference", "batch_independent")),
        Step("gradients", lambda: check(*LAYER_STEPS)),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of the number of parameters, and of results with two scales and shifts."""
    x = np.array([[1.0, 2.0, 4.0], [0.0, -1.0, 0.5]])

    def result(scale: float, shift: float) -> Any:
        layer = answer.LayerNorm(3, eps=0.1).astype("float64")
        for path, value in (("scale", scale), ("shift", shift)):
            if path in layer.parameters():
                layer.parameters()[path].assign(np.full(3, value))
        return layer(x)

    return [
        lambda: len(answer.LayerNorm(3).parameters()),
        lambda: result(1.0, 0.0),
        lambda: result(1.0, 0.5),
        lambda: result(2.0, 0.5) - result(2.0, 0.0),
    ]
