"""Code beside an answer to `scalar_tape`: small programs of numbers, and their derivatives by the learner's tape."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add, mul
from typing import Any

from tinygrad_lab.learn.answer import Answer, WrongAnswer

Program = Callable[[list[Any], Callable[[Any], Any]], Any]


def shared(xs: list[Any], tanh: Callable[[Any], Any]) -> Any:
    """Return x1^2 + x2^2 + ..., which uses each number twice."""
    return reduce(add, [x * x for x in xs])


def nested(xs: list[Any], tanh: Callable[[Any], Any]) -> Any:
    """Return tanh(x1 tanh(x2 ...))."""
    return reduce(lambda inner, x: tanh(inner * x), xs[1:], tanh(xs[0]))


def diamond(xs: list[Any], tanh: Callable[[Any], Any]) -> Any:
    """Return the result of a program in which intermediate results are used twice, early and late."""
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


def gradients(answer: Answer, name: str, x: Any) -> list[float]:
    """Return the grad of each number that a program was given."""
    leaves = [answer.Value(float(v)) for v in x]
    result = PROGRAMS[name](leaves, lambda value: value.tanh())
    if result is None or not hasattr(result, "backward"):
        raise WrongAnswer("an operation returned None: is a return missing?")
    result.backward()
    return [leaf.grad for leaf in leaves]
