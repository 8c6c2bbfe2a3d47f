"""Grades `checkpointing`: the gradient of a chain, the number of forwards, and the results that are kept at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case, Input
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, expect, same_values

COUNT, EVERY = 36, 6  # layers, and layers of a segment


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw an input, a cotangent, the number of layers and that of a segment."""
    shape = (draw(st.integers(1, 3)),)
    options = {"count": draw(st.integers(1, 7)), "every": draw(st.integers(1, 4))}
    return Case(options=options, inputs=(Input(shape), Input(shape)))


def reference(x: Array, g: Array, count: int, every: int) -> Array:
    """Return the gradient by the product of all derivatives."""
    for k in range(count):
        a = 1.0 + k / (2 * count)
        x, g = np.sin(a * x), g * a * np.cos(a * x)
    return g


def steps(answer: Answer) -> list[Step]:
    """Return checks of the gradient, of the forwards, and of the memory."""
    walk = answer.bench("walk")
    x, g = np.array([0.3, -0.7]), np.ones(2)

    def forwards() -> None:
        _, calls, _ = walk(x, g, COUNT, EVERY)
        expect(
            calls <= 2 * COUNT,
            f"{COUNT} layers in segments of {EVERY}: {calls} forwards; two for each layer are enough",
        )

    def memory() -> None:
        _, _, most = walk(x, g, COUNT, EVERY)
        limit = COUNT // EVERY + EVERY + 1
        expect(most <= limit, f"{COUNT} layers in segments of {EVERY}: {most} results at a time; {limit} are enough")

    return [
        Step("the gradient", lambda: same_values(lambda x, g, **o: walk(x, g, **o)[0], reference, draw_case())),
        Step("at most two forwards for each layer", forwards),
        Step("few results are kept at a time", memory),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of gradients with full and with short segments, of the forwards and of the memory."""
    walk, x, g = answer.bench("walk"), np.array([0.3, -0.7]), np.array([1.0, 2.0])
    return [
        lambda: walk(x, g, 6, 3)[0],
        lambda: walk(x, g, 7, 3)[0],
        lambda: walk(x, g, COUNT, EVERY)[1] <= 2 * COUNT,
        lambda: walk(x, g, COUNT, EVERY)[2] <= COUNT // EVERY + EVERY + 1,
    ]
