"""Grades `scalar_tape`: small programs of numbers, differentiated by the learner's tape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.backend import Array
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.exercises.scalar_tape.bench import PROGRAMS
from tinygrad_lab.learn.judge import Probe, Step, expect, right_gradient

LONG = 2000  # additions: more than Python's limit of recursion
X = np.array([0.3, -0.7, 1.1])


def forward_of(name: str) -> Callable[[Array], Array]:
    """Return a program as a function of an array, for plain numbers."""
    return lambda x: np.asarray(PROGRAMS[name](list(x), np.tanh))


def vjp_of(name: str, answer: Answer) -> Callable[[Array, Array], Array]:
    """Return a program's vector-Jacobian product by the learner's tape."""
    gradients = answer.bench("gradients")
    return lambda g, x: np.asarray(g * np.array(gradients(name, x), x.dtype))


def walks_alike(once: Array, twice: Array) -> bool:
    """Return whether a second walk sets the gradients of the first one again, or adds them again."""
    return any(np.allclose(twice, expected, rtol=1e-9) for expected in (once, 2 * once))


def walked(answer: Answer, walks: int) -> Array:
    """Return the derivatives of the program whose results are used twice, after one or more walks."""
    return np.array(answer.bench("gradients")("results that are used twice", X, walks))


def steps(answer: Answer) -> list[Step]:
    """Return checks of each program's derivatives, of a second walk, and of a long chain."""

    def check(name: str) -> None:
        right_gradient(forward_of(name), vjp_of(name, answer), st.tuples(st.integers(1, 4)), complex_safe=True)

    def second_walk() -> None:
        once, twice = walked(answer, 1), walked(answer, 2)
        expect(
            walks_alike(once, twice),
            "a second walk from the same result goes wrong: it may set the same gradients or add them again",
            f"after one walk {once}, after two {twice}",
        )

    def long_chain() -> None:
        found = answer.bench("long_sum")(LONG)
        expect(found == LONG + 1, f"x + x + ... with {LONG} additions: expected the gradient {LONG + 1}, got {found}")

    return [
        *(Step(name, lambda n=name: check(n)) for name in PROGRAMS),  # type: ignore[misc]  # the default of the lambda
        Step("a second walk from the same result", second_walk),
        Step(f"a chain of {LONG} additions", long_chain),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of each program's derivatives, of whether walks agree, and of whether a long chain ends."""
    return [
        *(lambda n=name: vjp_of(n, answer)(np.ones(()), X) for name in PROGRAMS),
        lambda: walks_alike(walked(answer, 1), walked(answer, 2)),
        lambda: answer.bench("long_sum")(LONG) > 0,
    ]
