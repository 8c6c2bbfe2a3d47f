"""Grades `attention`: the result, and the gradients of queries, keys and values."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case, Input
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, right_gradient, same_values


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw queries, keys and values."""
    queries, e = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    keys, d = draw(st.integers(2, 3)), draw(st.integers(2, 3))
    return Case(inputs=(Input((queries, d)), Input((keys, d)), Input((keys, e))))


def attention(q: Array, k: Array, v: Array) -> Array:
    """Return the attention of each query, one at a time, in operations that accept complex numbers."""
    rows = []
    for query in q:
        e = np.exp(np.array([(query * key).sum() for key in k]) / len(query) ** 0.5)
        rows.append((e[:, None] * v).sum(axis=0) / e.sum())
    return np.stack(rows)


def steps(answer: Answer) -> list[Step]:
    """Return checks of the result and of the gradients."""
    return [
        Step("the result", lambda: same_values(answer.attention, attention, draw_case())),
        Step(
            "gradients of q, k and v",
            lambda: right_gradient(attention, answer.attention_backward, draw_case(), complex_safe=True),
        ),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of the result and of each gradient."""
    rng = np.random.default_rng(0)
    q, k, v, g = (rng.normal(size=shape) for shape in ((2, 3), (4, 3), (4, 2), (2, 2)))
    return [
        lambda: answer.attention(q, k, v),
        *(lambda n=n: answer.attention_backward(g, q, k, v)[n] for n in range(3)),
    ]
