"""Grades `class_map`: the pooling and its gradient, and maps whose mean is the logit."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case, Input
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, right_gradient, same_values


@st.composite
def draw_image(draw: Any) -> tuple[int, ...]:
    """Draw the shape of a batch of maps."""
    return tuple(draw(st.integers(1, 3)) for _ in range(4))


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw maps, the weights of a dense layer, and a class."""
    shape, classes = draw(draw_image()), draw(st.integers(2, 3))
    label = draw(st.integers(0, classes - 1))
    return Case(options={"label": label}, inputs=(Input(shape), Input((shape[-1], classes))))


def pooled(x: Array) -> Array:
    """Return the mean of each plane, by a sum that accepts complex numbers."""
    return np.asarray(np.einsum("nhwc->nc", x) / (x.shape[1] * x.shape[2]))


def mapped(x: Array, w: Array, label: int) -> Array:
    """Return the maps of a class, plane by plane."""
    return np.asarray(sum(x[..., c] * w[c, label] for c in range(x.shape[-1])))


def place(x: Array, w: Array, label: int) -> Array:
    """Return where each map is largest, pixel by pixel."""
    places = []
    for one in mapped(x, w, label):
        at = {float(value): where for where, value in np.ndenumerate(one)}
        places.append(at[max(at)])
    return np.array(places)


def steps(answer: Answer) -> list[Step]:
    """Return checks of the pooling, of its gradient, of the maps, and of their largest pixel."""
    return [
        Step("the mean of each plane", lambda: same_values(answer.global_average_pool, pooled, draw_image())),
        Step(
            "the gradient of the mean",
            lambda: right_gradient(pooled, answer.global_average_pool_backward, draw_image(), complex_safe=True),
        ),
        Step("the map of a class", lambda: same_values(answer.class_map, mapped, draw_case())),
        Step("where the map is largest", lambda: same_values(answer.looked_at, place, draw_case())),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of the pooling, of its gradient, of a map and of its largest pixel."""
    rng = np.random.default_rng(0)
    x, g, w = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 5)), rng.normal(size=(5, 3))
    return [
        lambda: answer.global_average_pool(x),
        lambda: answer.global_average_pool_backward(g, x),
        lambda: answer.class_map(x, w, 1),
        lambda: answer.looked_at(x, w, 1),
    ]
