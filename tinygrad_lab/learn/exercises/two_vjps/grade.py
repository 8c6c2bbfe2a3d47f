"""Grades `two_vjps` against the engine's own forward mode and Hessian-vector product."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.autograd.tape import raw
from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case, Input
from tinygrad_lab.conformance.trials.oracles import complex_step
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, same_values

CASES = st.integers(1, 4).map(lambda n: Case(inputs=(Input((n,), -1.0, 1.0), Input((n,), -1.0, 1.0))))


def twisted(x: Any) -> Any:
    """Return as many results as x has elements, each by several of them."""
    return tgl.sin(x) * tgl.cumsum(x, 0) + tgl.exp(x)


def longer(x: Any) -> Any:
    """Return more results than x has elements."""
    return tgl.concatenate([tgl.tanh(x), x * x])


def energy(x: Any) -> Any:
    """Return one number, whose Hessian is full."""
    return tgl.exp(tgl.mean(x * x)) + tgl.sum(tgl.sin(x) * x)


def steps(answer: Answer) -> list[Step]:
    """Check J u and H u."""

    def pushed(f: Any) -> None:
        def reference(x: Array, u: Array) -> Array:
            return complex_step(lambda arrays: [raw(f(*arrays))], [x], [u]).value

        same_values(lambda x, u: raw(answer.jvp(f, x, u)), reference, CASES)

    def curvature() -> None:
        def reference(x: Array, u: Array) -> Array:
            return np.asarray(raw(tgl.hvp(energy, x, u)))

        same_values(lambda x, u: raw(answer.hessian_vector(energy, x, u)), reference, CASES)

    return [
        Step("J u, as many results as arguments", lambda: pushed(twisted)),
        Step("J u, more results than arguments", lambda: pushed(longer)),
        Step("H u", curvature),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Take J u, its error, and H u."""
    x, u = np.array([0.3, -0.5, 0.8]), np.array([1.0, 2.0, -1.0])

    def error() -> Any:
        exact = complex_step(lambda arrays: [raw(twisted(*arrays))], [x], [u]).value
        return np.abs(raw(answer.jvp(twisted, x, u)) - exact).max() < 1e-9

    return [
        error,
        lambda: np.round(raw(answer.jvp(twisted, x, u)), 4),
        lambda: np.round(raw(answer.hessian_vector(energy, x, u)), 4),
    ]
