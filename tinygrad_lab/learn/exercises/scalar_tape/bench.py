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


def gradients(answer: Answer, name: str, x: Any, walks: int = 1) -> list[float]:
    """Return the grad of each number that a program was given, after one or more walks back from its result."""
    leaves = [answer.Value(float(v)) for v in x]
    result = PROGRAMS[name](leaves, lambda value: apply_tanh(answer, value))
    for _ in range(walks):
        walk_back(answer, result)
    return [leaf.grad for leaf in leaves]


def long_sum(answer: Answer, count: int) -> float:
    """Return the grad of x in x + x + x + ..., a chain of `count` additions."""
    x = y = answer.Value(0.5)
    for _ in range(count):
        y = y + x
    walk_back(answer, y)
    return float(x.grad)


def apply_tanh(answer: Answer, value: Any) -> Any:
    """Return tanh by the method of the learner's class, or by a function of that name."""
    return value.tanh() if hasattr(value, "tanh") or value is None else answer.tanh(value)


def walk_back(answer: Answer, result: Any) -> None:
    """Walk back from a result by the method of the learner's class, or by a function of that name.

    Raises
    ------
    WrongAnswer
        An operation returned None, or there is no backward.
    """
    if result is None:
        raise WrongAnswer("an operation returned None: is a return missing?")
    if hasattr(result, "backward"):
        result.backward()
    else:
        answer.named("backward")(result)
