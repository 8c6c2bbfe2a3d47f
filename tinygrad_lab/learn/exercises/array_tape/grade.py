"""Grades `array_tape`: first and second derivatives by the learner's `grad`, against the engine's."""

from __future__ import annotations

import types

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case, Input
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.exercises.array_tape.bench import FUNCTIONS
from tinygrad_lab.learn.judge import Probe, Step, same_values

ENGINE = types.SimpleNamespace(add=tgl.add, multiply=tgl.multiply, tanh=tgl.tanh, total=tgl.sum)
ONE = st.integers(1, 3).map(lambda n: (n,))
PAIRS = st.integers(1, 3).map(lambda n: Case(inputs=(Input((n,)), Input((n,)))))


def first(name: str, x: Array) -> Array:
    """Return the gradient of a function by the engine."""
    return np.asarray(unbox(tgl.grad(lambda x: FUNCTIONS[name](ENGINE, x))(x)))


def second(name: str, x: Array, u: Array) -> Array:
    """Return H u by the engine."""
    return np.asarray(unbox(tgl.hvp(lambda x: FUNCTIONS[name](ENGINE, x), x, u)))


def steps(answer: Answer) -> list[Step]:
    """Return checks of first and of second derivatives."""

    def check(name: str) -> None:
        same_values(lambda x: answer.bench("first")(name, x), lambda x: first(name, x), ONE)

    def check_second(name: str) -> None:
        same_values(lambda x, u: answer.bench("second")(name, x, u), lambda x, u: second(name, x, u), PAIRS)

    return [
        *(Step(f"grad: {name}", lambda n=name: check(n)) for name in FUNCTIONS),  # type: ignore[misc]  # the default of the lambda
        *(Step(f"grad of grad: {name}", lambda n=name: check_second(n)) for name in FUNCTIONS),  # type: ignore[misc]  # the default of the lambda
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of first and of second derivatives."""
    x, u = np.array([0.3, -0.7]), np.array([1.0, 2.0])
    return [
        *(lambda n=name: answer.bench("first")(n, x) for name in FUNCTIONS),
        *(lambda n=name: answer.bench("second")(n, x, u) for name in FUNCTIONS),
    ]
