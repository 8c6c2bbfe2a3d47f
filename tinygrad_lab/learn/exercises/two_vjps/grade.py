"""Grades `two_vjps`: compares J u with the complex step, and H u with the engine's Hessian-vector product."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case, Input
from tinygrad_lab.conformance.trials.oracles import complex_step
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.exercises.two_vjps.bench import FUNCTIONS, energy, twisted
from tinygrad_lab.learn.judge import Probe, Step, same_values

CASES = st.integers(1, 4).map(lambda n: Case(inputs=(Input((n,), -1.0, 1.0), Input((n,), -1.0, 1.0))))


def steps(answer: Answer) -> list[Step]:
    """Return checks of J u and H u."""

    def pushed(name: str) -> None:
        def reference(x: Array, u: Array) -> Array:
            return complex_step(lambda arrays: [unbox(FUNCTIONS[name](*arrays))], [x], [u]).value

        same_values(lambda x, u: answer.bench("pushed")(name, x, u), reference, CASES)

    def curvature() -> None:
        def reference(x: Array, u: Array) -> Array:
            return np.asarray(unbox(tgl.hvp(energy, x, u)))

        same_values(answer.bench("curved"), reference, CASES)

    return [
        Step("J u, as many results as arguments", lambda: pushed("twisted")),
        Step("J u, more results than arguments", lambda: pushed("longer")),
        Step("H u", curvature),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of the error of J u, of J u, and of H u."""
    x, u = np.array([0.3, -0.5, 0.8]), np.array([1.0, 2.0, -1.0])

    def error() -> Any:
        exact = complex_step(lambda arrays: [unbox(twisted(*arrays))], [x], [u]).value
        return np.abs(answer.bench("pushed")("twisted", x, u) - exact).max() < 1e-9

    return [
        error,
        lambda: np.round(answer.bench("pushed")("twisted", x, u), 4),
        lambda: np.round(answer.bench("curved")(x, u), 4),
    ]
