"""Code beside an answer to `array_tape`: functions of arrays, and their derivatives by the learner's tape."""

from __future__ import annotations

from typing import Any

import numpy as np

ROWS = np.array([[1.0], [-0.5], [2.0]])  # stretches an array of shape (n,) to (3, n)


def products(tape: Any, x: Any) -> Any:
    """Return sum(x^3 + 2 x), which uses x several times."""
    return tape.total(tape.add(tape.multiply(tape.multiply(x, x), x), tape.multiply(x, 2.0)))


def stretched(tape: Any, x: Any) -> Any:
    """Return the sum of the squares of three multiples of x."""
    rows = tape.multiply(x, ROWS)
    return tape.total(tape.multiply(rows, rows))


def saturated(tape: Any, x: Any) -> Any:
    """Return sum(tanh(x) x)."""
    return tape.total(tape.multiply(tape.tanh(x), x))


FUNCTIONS = {f.__name__: f for f in (products, stretched, saturated)}


def first(answer: Any, name: str, x: Any) -> Any:
    """Return the gradient of a function."""
    return answer.grad(lambda x: FUNCTIONS[name](answer, x))(x)


def second(answer: Any, name: str, x: Any, u: Any) -> Any:
    """Return H u, the gradient of the gradient's product with u."""
    gradient = answer.grad(lambda x: FUNCTIONS[name](answer, x))
    return answer.grad(lambda x: answer.total(answer.multiply(gradient(x), u)))(x)
