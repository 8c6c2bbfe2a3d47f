"""Grades `step_decay`: the rate, compared with a loop that lowers it at every fall."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case, Input
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, same_values


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw a schedule, and a time at, before or after one of its falls."""
    start, interval = draw(st.integers(1, 9)), draw(st.integers(1, 3))
    options = {
        "base": draw(st.sampled_from((0.1, 1.0))),
        "start": start,
        "interval": interval,
        "factor": draw(st.sampled_from((0.1, 0.5))),
    }
    t = start + draw(st.integers(-3, 3)) * interval + draw(st.sampled_from((0.0, 0.5)))
    return Case(options=options, inputs=(Input((), values=(max(0.0, t),)),))


def reference(t: Array, base: float, start: float, interval: float, factor: float) -> Array:
    """Return the rate, lowered at every fall up to t."""
    rate, fall = base, start
    while fall <= t:
        rate, fall = rate * factor, fall + interval
    return np.asarray(rate)


def steps(answer: Answer) -> list[Step]:
    """Return the check of the rate at and between its falls."""

    def rate(t: Array, base: float, start: float, interval: float, factor: float) -> Array:
        return np.asarray(answer.step_decay(float(t), base, start, interval, factor))

    return [Step("the rate, at its falls and between them", lambda: same_values(rate, reference, draw_case()))]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of the rate before, at and after the first fall, and after several falls."""
    return [
        lambda t=t: answer.step_decay(t, 1.0, 10.0, 5.0, 0.1)  # type: ignore[misc]  # the default of the lambda
        for t in (3.0, 10.0, 12.5, 15.0, 22.0)
    ]
