"""Grades `plugin`: checks the layer with the grader's cases, and the learner's cases with a damaged layer."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.backend import Array
from tinygrad_lab.conformance import Case, Input, LayerCases, check_layer, inspect_layer, strategies
from tinygrad_lab.conformance.trials.search import explore
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import LAYER_STEPS, PROFILE, Probe, Step, expect


def reference(layer: Any, x: Array) -> Array:
    """Return x + sin(beta x)^2 / beta, by the half-angle formula."""
    beta = layer.state()["beta"]
    return np.asarray(x + (1 - np.cos(2 * beta * x)) / (2 * beta))


CASES = LayerCases(
    st.builds(
        lambda beta, shape: Case(options={"beta": beta}, inputs=(Input(shape),)),
        st.sampled_from((0.5, 1.0, 2.0)),
        strategies.shapes(1, 2),
    ),
    reference=reference,
)


def damaged(snake: Any) -> Any:
    """Return a layer class whose results are 1 % too large, with derivatives that match these results."""

    class Damaged(snake):
        def forward(self, x: Any) -> Any:
            return 1.01 * super().forward(x)

    return Damaged


def notices(answer: Answer) -> bool:
    """Return whether a damaged layer fails the learner's cases."""
    return not inspect_layer(damaged(answer.Snake), answer.cases, profile=PROFILE, properties=("reference",)).passed


def steps(answer: Answer) -> list[Step]:
    """Return checks of the layer, and of its cases."""

    def check(cases: LayerCases, *properties: str) -> None:
        check_layer(answer.Snake, cases, profile=PROFILE, properties=properties)

    own = ("reference", "gradients", "elementwise", "bad_inputs", "adequacy")
    return [
        Step("the result", lambda: check(CASES, "reference")),
        Step("gradients of x and beta", lambda: check(CASES, *LAYER_STEPS)),
        Step("your cases pass your layer", lambda: check(answer.cases, *own)),
        Step(
            "your cases notice a damaged layer",
            lambda: expect(
                notices(answer), "a layer whose results are one part in a hundred too large passes your cases"
            ),
        ),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of both gradients, of whether cases differ, and of whether they notice damage."""
    x, g = np.array([0.3, -1.0, 2.0]), np.array([1.0, -2.0, 0.5])

    def slopes(which: int) -> Any:
        layer = answer.Snake(beta=2.0).astype("float64")
        return tgl.vjp(lambda x, beta: tgl.functional_call(layer, {"beta": beta}, x), x, np.array([2.0]))[1](g)[which]

    def different() -> Any:
        drawn = explore(answer.cases.strategy, PROFILE, lambda case: None)
        return len({(str(c.options), c.inputs[0].shape) for c in itertools.islice(drawn.structures, 8)}) > 1

    def agreed() -> Any:
        return notices(answer)

    return [lambda: slopes(0), lambda: slopes(1), different, agreed]
