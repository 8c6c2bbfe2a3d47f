"""Grades `momentum`: the formula, and the other properties of an optimizer."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.backend import Array
from tinygrad_lab.conformance import Case, Input, check_optimizer
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import PROFILE, Probe, Step, same_values

OPTIONS = st.fixed_dictionaries({"lr": st.sampled_from((0.1, 0.01)), "momentum": st.sampled_from((0.0, 0.5, 0.9))})


def walk(optimizer: Any, p: tgl.Parameter, gradients: Array) -> Array:
    """Return the values of a parameter after each step with these gradients."""
    places = []
    for g in gradients:
        if p.node is not None:
            p.node.grad = g
        optimizer.step()
        places.append(p.numpy())
    return np.stack(places)


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw a parameter and the gradients of three steps."""
    size = draw(st.integers(1, 3))
    return Case(options=draw(OPTIONS), inputs=(Input((size,)), Input((3, size))))


def reference(start: Array, gradients: Array, lr: float, momentum: float) -> Array:
    """Return the parameter after each step by a closed formula: v_t is the sum of mu^(t - k) g_k."""
    velocities = [sum(momentum ** (t - k) * gradients[k] for k in range(t + 1)) for t in range(len(gradients))]
    return np.asarray(start - lr * np.cumsum(velocities, axis=0))


def steps(answer: Answer) -> list[Step]:
    """Return checks of the formula, and of the other properties of an optimizer."""

    def places(start: Array, gradients: Array, lr: float, momentum: float) -> Array:
        p = tgl.Parameter(start)
        return walk(answer.SGD({"p": p}, lr=lr, momentum=momentum), p, gradients)

    return [
        Step("three steps, by the formula", lambda: same_values(places, reference, draw_case())),
        Step(
            "fresh arrays, states that are copies, runs that can be resumed",
            lambda: check_optimizer(answer.SGD, OPTIONS, profile=PROFILE),
        ),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of steps, of a state that is kept during later steps, of the velocity, and of a resumed run."""
    gradients = np.array([[1.0, 2.0], [0.5, -1.0], [-2.0, 0.25]])

    def start() -> tuple[Any, tgl.Parameter]:
        p = tgl.Parameter(np.array([1.0, -1.0]))
        return answer.SGD({"p": p}, lr=0.1, momentum=0.5), p

    def held() -> Any:
        optimizer, p = start()
        walk(optimizer, p, gradients[:1])
        state = optimizer.state()
        before = state["p"].copy()
        walk(optimizer, p, gradients[1:])
        return state["p"] - before

    def gathered() -> Any:
        optimizer, p = start()
        walk(optimizer, p, gradients)
        return optimizer.state()["p"]

    def resumed() -> Any:
        optimizer, _ = start()
        optimizer.load_state({"p": np.array([10.0, 20.0])})
        return optimizer.state()["p"]

    return [lambda: walk(*start(), gradients), held, gathered, resumed]
