"""Grades `batch_norm`: the three gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case, Input
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, right_gradient

EPS = 0.1


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw rows, a scale and a shift; fewer than three rows have gradients near 0, which hide mistakes."""
    rows, features = draw(st.integers(3, 4)), draw(st.integers(1, 3))
    return Case(inputs=(Input((rows, features)), Input((features,)), Input((features,))))


def batch_norm(x: Array, scale: Array, shift: Array) -> Array:
    """Return the normalized rows, in operations that accept complex numbers."""
    centered = x - x.mean(axis=0)
    return np.asarray(scale * centered / np.sqrt((centered * centered).mean(axis=0) + EPS) + shift)


def steps(answer: Answer) -> list[Step]:
    """Return the check of the three gradients."""

    def backward(g: Array, x: Array, scale: Array, shift: Array) -> Any:
        return answer.batch_norm_backward(g, x, scale, EPS)

    return [
        Step(
            "gradients of x, scale and shift",
            lambda: right_gradient(batch_norm, backward, draw_case(), complex_safe=True),
        )
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return a probe of each gradient."""
    rng = np.random.default_rng(0)
    g, x, scale = rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), rng.normal(size=3)
    return [lambda k=k: answer.batch_norm_backward(g, x, scale, EPS)[k] for k in range(3)]  # type: ignore[misc]  # the default of the lambda
