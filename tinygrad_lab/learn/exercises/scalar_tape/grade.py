"""Grades `scalar_tape`: small programs of numbers, differentiated by the learner's tape."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add, mul
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.backend import Array
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, expect, right_gradient

Program = Callable[[list[Any], Callable[[Any], Any]], Any]


def shared(xs: list[Any], tanh: Callable[[Any], Any]) -> Any:
    """Return x1^2 + x2^2 + ..., each number used twice."""
    return reduce(add, [x * x for x in xs])


def nested(xs: list[Any], tanh: Callable[[Any], Any]) -> Any:
    """Return tanh(x1 tanh(x2 ...))."""
    return reduce(lambda inner, x: tanh(inner * x), xs[1:], tanh(xs[0]))


def diamond(xs: list[Any], tanh: Callable[[Any], Any]) -> Any:
    """Return a program in which results are used twice, early and late."""
    y = xs[0]
    for x in xs:
        y = tanh(y + x)
        y = y + y * y
    return y * xs[0] + y


PROGRAMS: dict[str, Program] = {
    "a product of different numbers": lambda xs, tanh: reduce(mul, xs),
    "tanh, nested": nested,
    "numbers that are used twice": shared,
    "results that are used twice": diamond,
}


def forward_of(program: Program) -> Callable[[Array], Array]:
    """Return a program of plain numbers."""
    return lambda x: np.asarray(program(list(x), np.tanh))


def vjp_of(program: Program, answer: Answer) -> Callable[[Array, Array], Array]:
    """Return a program's derivative by the learner's tape."""

    def vjp(g: Array, x: Array) -> Array:
        leaves = [answer.Value(float(v)) for v in x]
        result = program(leaves, lambda value: value.tanh())
        expect(result is not None and hasattr(result, "backward"), "an operation returned None: is a return missing?")
        result.backward()
        return np.asarray(g * np.array([leaf.grad for leaf in leaves], x.dtype))

    return vjp


def steps(answer: Answer) -> list[Step]:
    """Check each program."""

    def check(program: Program) -> None:
        right_gradient(forward_of(program), vjp_of(program, answer), st.tuples(st.integers(1, 4)), complex_safe=True)

    return [Step(name, lambda p=program: check(p)) for name, program in PROGRAMS.items()]  # type: ignore[misc]  # its default


def probes(answer: Answer) -> list[Probe]:
    """Differentiate each program at one place."""
    x = np.array([0.3, -0.7, 1.1])
    return [lambda p=program: vjp_of(p, answer)(np.ones(()), x) for program in PROGRAMS.values()]  # type: ignore[misc]  # its default
