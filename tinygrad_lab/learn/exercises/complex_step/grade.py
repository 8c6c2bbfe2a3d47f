"""Grades `complex_step`: slopes to thirteen digits, Jacobians, and the checker's verdicts on right and wrong rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case, Input
from tinygrad_lab.conformance.trials.oracles import complex_step as exact_slope
from tinygrad_lab.conformance.trials.oracles import join, one_hots
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, expect, same_values


def chained(x: Array) -> Array:
    """Return products of neighbors and their exponentials: n results."""
    return np.asarray(np.exp(x / 4) * np.roll(x, 1))


def fewer(x: Array) -> Array:
    """Return two results for any number of elements."""
    return np.stack([np.sin(x).sum(), (x * x * x).sum()])


def centered(x: Array) -> Array:
    """Return x with mean 0 and length 1."""
    c = x - x.mean()
    return np.asarray(c / np.sqrt((c * c).sum()))


def centred_vjp(v: Array, x: Array) -> Array:
    """Return the vector-Jacobian product of `centered`."""
    length, y = np.linalg.norm(x - x.mean()), centered(x)
    return np.asarray((v - v.mean() - y * (v @ y)) / length)


def without_variance(v: Array, x: Array) -> Array:
    """Return `centred_vjp` without the last term, which is wrong in general, but right for a cotangent of ones."""
    return np.asarray((v - v.mean()) / np.linalg.norm(x - x.mean()))


# Functions with rules, and whether the learner's checker must accept the rule.
RULES: dict[str, tuple[Callable[..., Any], Callable[..., Any], bool]] = {
    "a right rule": (centered, centred_vjp, True),
    "a rule for tanh": (np.tanh, lambda v, x: v * (1 - np.tanh(x) ** 2), True),
    "a rule with the wrong sign": (np.cos, lambda v, x: v * np.sin(x), False),
    "a rule that is off by one part in a million": (np.sin, lambda v, x: v * np.cos(x) * (1 + 1e-6), False),
    "a normalization's rule without the term of the variance": (centered, without_variance, False),
    "a rule whose result is in the wrong places": (np.square, lambda v, x: (2 * x * v)[::-1], False),
}
X = np.array([0.3, -1.2, 0.8, 2.1])


def steps(answer: Answer) -> list[Step]:
    """Return checks of slopes, of Jacobians, and of the learner's checker."""
    pairs = st.integers(2, 4).map(lambda n: Case(inputs=(Input((n,)), Input((n,)))))
    places = st.integers(2, 4).map(lambda n: (n,))

    def slope(f: Callable[..., Any], x: Array, u: Array) -> Array:
        return exact_slope(lambda arrays: [f(*arrays)], [x], [u]).value

    def check_slope(f: Callable[..., Any]) -> None:
        same_values(lambda x, u: answer.slope(f, x, u), lambda x, u: slope(f, x, u), pairs, tolerance=1e-13)

    def check_jacobian(f: Callable[..., Any]) -> None:
        def columns(x: Array) -> Array:
            return np.stack([join([slope(f, x, unit)]) for unit in one_hots(x)], axis=1)

        same_values(lambda x: answer.jacobian(f, x), columns, places, tolerance=1e-13)

    def check_rule(name: str) -> None:
        f, vjp, right = RULES[name]
        said = answer.agrees(f, vjp, X)
        expect(isinstance(said, bool | np.bool_), f"agrees: expected True or False, got {said!r:.40}")
        expect(bool(said) == right, f"agrees: expected {right} for {name}, got {said}")

    return [
        Step("slopes, to thirteen digits", lambda: check_slope(chained)),
        Step("the Jacobian of n results", lambda: check_jacobian(chained)),
        Step("the Jacobian of two results", lambda: check_jacobian(fewer)),
        *(Step(f"the verdict on {name}", lambda n=name: check_rule(n)) for name in RULES),  # type: ignore[misc]  # the default of the lambda
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of a slope, of a Jacobian, and of the verdicts on right and wrong rules."""

    def error() -> Any:
        """The decimal logarithm of the slope's error."""
        off = answer.slope(chained, X, np.ones(4)) - exact_slope(lambda a: [chained(*a)], [X], [np.ones(4)]).value
        return np.round(np.log10(np.abs(off).max() + 1e-14))

    def verdicts(names: tuple[str, ...]) -> Any:
        return [bool(answer.agrees(*RULES[name][:2], X)) for name in names]

    blind = "a normalization's rule without the term of the variance"
    others = "a rule with the wrong sign", "a rule whose result is in the wrong places"
    return [
        error,
        lambda: np.round(answer.slope(fewer, X, np.ones(4)), 4),
        lambda: np.round(answer.jacobian(fewer, X), 4),
        lambda: verdicts((blind,)),
        lambda: verdicts(others),
    ]
