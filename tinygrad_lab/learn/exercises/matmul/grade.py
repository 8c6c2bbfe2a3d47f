"""Grades `matmul`: the gradients of a dense layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case, Input
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, right_gradient


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw a batch, a weight and a bias."""
    n, i, o = (draw(st.integers(1, 4)) for _ in range(3))
    return Case(inputs=(Input((n, i)), Input((i, o)), Input((o,))))


def dense(x: Array, w: Array, b: Array) -> Array:
    """Return x w + b."""
    return x @ w + b


def steps(answer: Answer) -> list[Step]:
    """Return the check of the three gradients."""

    def backward(g: Array, x: Array, w: Array, b: Array) -> Any:
        return answer.dense_backward(g, x, w)

    return [Step("gradients of x, w and b", lambda: right_gradient(dense, backward, draw_case(), complex_safe=True))]


def probes(answer: Answer) -> list[Probe]:
    """Return a probe of each gradient, for square matrices, so that a wrong product raises no error."""
    rng = np.random.default_rng(0)
    g, x, w = rng.normal(size=(3, 3, 3))
    return [lambda k=k: answer.dense_backward(g, x, w)[k] for k in range(3)]  # type: ignore[misc]  # the default of the lambda
