"""Grades `log_sum_exp`: its values near and far from 0, and its gradient."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy.special import logsumexp

from tinygrad_lab.backend import Array
from tinygrad_lab.conformance import strategies
from tinygrad_lab.conformance.cases.case import Input
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, right_gradient, same_values

SHAPES = strategies.shapes(1, 3)


def reference(x: Array) -> Array:
    """Return SciPy's log-sum-exp."""
    return np.asarray(logsumexp(x, axis=-1))


def naive(x: Array) -> Array:
    """Return log-sum-exp by the plain formula, which is accurate near 0 and accepts complex numbers."""
    return np.asarray(np.log(np.exp(x).sum(axis=-1)))


def steps(answer: Answer) -> list[Step]:
    """Return checks of values, of large values and of the gradient."""
    far = st.builds(lambda shape: Input(shape, low=-2000.0, high=2000.0), SHAPES)
    return [
        Step("values", lambda: same_values(answer.log_sum_exp, reference, SHAPES)),
        Step("values up to 2000 and down to -2000", lambda: same_values(answer.log_sum_exp, reference, far)),
        Step("gradient", lambda: right_gradient(naive, answer.log_sum_exp_backward, SHAPES, complex_safe=True)),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of rows near 0, far from 0, and far from each other, and of a gradient."""
    x = np.array([[0.5, -1.0, 2.0], [1.0, 1.0, -0.5]])
    return [
        lambda: answer.log_sum_exp(x),
        lambda: answer.log_sum_exp(x + 1000.0),
        lambda: answer.log_sum_exp(x + np.array([[0.0], [-2000.0]])),
        lambda: answer.log_sum_exp_backward(np.array([2.0, -3.0]), x),
    ]
