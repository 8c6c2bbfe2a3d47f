"""Grades `adam`: the formula, and the other properties of an optimizer."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.backend import Array
from tinygrad_lab.conformance import Case, Input, check_optimizer
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.exercises.momentum.grade import walk
from tinygrad_lab.learn.judge import PROFILE, Probe, Step, same_values

OPTIONS = st.fixed_dictionaries(
    {"lr": st.sampled_from((0.1, 0.01)), "beta1": st.sampled_from((0.0, 0.9)), "beta2": st.sampled_from((0.5, 0.999))}
)


@st.composite
def draw_case(draw: Any, size_of_gradients: float = 1.0) -> Case:
    """Draw a parameter, and the gradients of three steps that are not near 0."""
    size, largest = draw(st.integers(1, 3)), 2.0 * size_of_gradients
    return Case(options=draw(OPTIONS), inputs=(Input((size,)), Input((3, size), largest / 4, largest)))


def reference(start: Array, gradients: Array, lr: float, beta1: float, beta2: float) -> Array:
    """Return the parameter after each step; the corrected means are weighted averages of all gradients so far."""
    places, p = [], start
    for t in range(1, len(gradients) + 1):
        ages = np.arange(t)[::-1]
        mean = np.average(gradients[:t], axis=0, weights=beta1**ages)
        squares = np.average(gradients[:t] ** 2, axis=0, weights=beta2**ages)
        p = p - lr * mean / (np.sqrt(squares) + 1e-8)
        places.append(p)
    return np.stack(places)


def steps(answer: Answer) -> list[Step]:
    """Return checks of the formula, and of the other properties of an optimizer."""

    def places(start: Array, gradients: Array, lr: float, beta1: float, beta2: float) -> Array:
        p = tgl.Parameter(start)
        return walk(answer.Adam({"p": p}, lr=lr, beta1=beta1, beta2=beta2), p, gradients)

    return [
        Step("three steps, by the formula", lambda: same_values(places, reference, draw_case())),
        Step("three steps with tiny gradients", lambda: same_values(places, reference, draw_case(1e-5))),
        Step(
            "fresh arrays, states that are copies, runs that can be resumed",
            lambda: check_optimizer(answer.Adam, OPTIONS, profile=PROFILE),
        ),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of steps with large and with tiny gradients, and of a resumed run."""
    gradients = np.array([[1.0, 2.0], [0.5, -1.0], [-2.0, 0.25]])

    def start() -> tuple[Any, tgl.Parameter]:
        p = tgl.Parameter(np.array([1.0, -1.0]))
        return answer.Adam({"p": p}, lr=0.1, beta1=0.5, beta2=0.9), p

    def resumed() -> Any:
        optimizer, p = start()
        walk(optimizer, p, gradients[:2])
        fresh, q = start()
        q.assign(p.numpy())
        fresh.load_state(optimizer.state())
        return walk(fresh, q, gradients[2:])

    return [lambda: walk(*start(), gradients), lambda: walk(*start(), gradients * 1e-4), resumed]
