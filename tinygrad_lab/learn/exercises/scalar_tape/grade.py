"""Grades `scalar_tape`: small programs of numbers, differentiated by the learner's tape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.backend import Array
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.exercises.scalar_tape.bench import PROGRAMS
from tinygrad_lab.learn.judge import Probe, Step, right_gradient


def forward_of(name: str) -> Callable[[Array], Array]:
    """Return a program as a function of an array, for plain numbers."""
    return lambda x: np.asarray(PROGRAMS[name](list(x), np.tanh))


def vjp_of(name: str, answer: Answer) -> Callable[[Array, Array], Array]:
    """Return a program's vector-Jacobian product by the learner's tape."""
    gradients = answer.bench("gradients")
    return lambda g, x: np.asarray(g * np.array(gradients(name, x), x.dtype))


def steps(answer: Answer) -> list[Step]:
    """Return a check of each program's derivatives."""

    def check(name: str) -> None:
        right_gradient(forward_of(name), vjp_of(name, answer), st.tuples(st.integers(1, 4)), complex_safe=True)

    return [Step(name, lambda n=name: check(n)) for name in PROGRAMS]  # type: ignore[misc]  # the default of the lambda


def probes(answer: Answer) -> list[Probe]:
    """Return a probe of each program's derivatives."""
    x = np.array([0.3, -0.7, 1.1])
    return [lambda n=name: vjp_of(n, answer)(np.ones(()), x) for name in PROGRAMS]  # type: ignore[misc]  # the default of the lambda
