"""Grades `response_norm`: its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.conformance import strategies
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, right_gradient

ALPHA, BETA, K = 0.5, 0.75, 1.0


def response_norm(x: Array, radius: int) -> Array:
    """Return the normalized channels; a product with a matrix sums over neighbors."""
    places = np.arange(x.shape[-1])
    near = (abs(places[:, None] - places) <= radius).astype(float)
    return np.asarray(x * (K + ALPHA * (x * x) @ near) ** -BETA)


def steps(answer: Answer) -> list[Step]:
    """Return checks of the gradient without neighbors, and with some."""

    def check(radius: int) -> None:
        def backward(g: Array, x: Array) -> Any:
            return answer.response_norm_backward(g, x, radius, ALPHA, BETA, K)

        right_gradient(lambda x: response_norm(x, radius), backward, strategies.shapes(1, 3), complex_safe=True)

    return [
        Step("gradient, no neighbors", lambda: check(0)),
        Step("gradient, one neighbor on either side", lambda: check(1)),
        Step("gradient, two neighbors on either side", lambda: check(2)),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of the gradient without neighbors, and with one on either side."""
    g, x = np.random.default_rng(0).normal(size=(2, 2, 5))
    return [
        lambda r=r: answer.response_norm_backward(g, x, r, ALPHA, BETA, K)  # type: ignore[misc]  # the default of the lambda
        for r in (0, 1)
    ]
