"""Grades `cross_entropy`: the loss, also of large logits, and the gradient of the logits."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy.special import log_softmax

from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case, Input
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, right_gradient, same_values


@st.composite
def draw_case(draw: Any, size: float = 2.0) -> Case:
    """Draw logits and labels."""
    rows, classes = draw(st.integers(1, 4)), draw(st.integers(2, 4))
    return Case(inputs=(Input((rows, classes), -size, size), Input((rows,), kind="integer", below=classes)))


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Return the loss by the plain formula, which accepts complex numbers."""
    picked = logits[np.arange(len(labels)), labels]
    return np.asarray(np.mean(np.log(np.exp(logits).sum(axis=-1)) - picked))


def reference(logits: Array, labels: Array) -> Array:
    """Return the loss by SciPy's log-softmax."""
    return np.asarray(-np.mean([row[label] for row, label in zip(log_softmax(logits, axis=-1), labels, strict=True)]))


def steps(answer: Answer) -> list[Step]:
    """Return checks of the loss and of its gradient."""
    return [
        Step("the loss", lambda: same_values(answer.cross_entropy, reference, draw_case())),
        Step("the loss of logits up to 2000", lambda: same_values(answer.cross_entropy, reference, draw_case(2000.0))),
        Step(
            "the gradient of the logits",
            lambda: right_gradient(cross_entropy, answer.cross_entropy_backward, draw_case(), complex_safe=True),
        ),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of a loss, of the losses of large logits, and of a gradient whose cotangent is not 1."""
    logits, labels = np.array([[0.5, -1.0, 2.0], [1.0, 0.0, -0.5]]), np.array([2, 0])
    return [
        lambda: answer.cross_entropy(logits, labels),
        lambda: answer.cross_entropy(logits * 1000.0, labels),
        lambda: answer.cross_entropy(logits * 1000.0, labels[::-1]),  # probabilities of the labels that underflow
        lambda: answer.cross_entropy_backward(np.array(3.0), logits, labels),
    ]
