"""Grades `two_steps`: differences, extrapolated slopes with their bounds, and verdicts near and far from kinks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, expect

X, U = np.array([0.4, -0.7, 1.1]), np.array([1.0, 2.0, -0.5])


def smooth(x: Array) -> float:
    """Return sum(exp(x)) + the product of all elements."""
    return float(np.exp(x).sum() + x.prod())


def smooth_gradient(x: Array) -> Array:
    """Return the gradient of `smooth`, for elements that are not 0."""
    return np.asarray(np.exp(x) + x.prod() / x)


def hinge(x: Array) -> float:
    """Return sum(max(x, 0)), which has a kink at every 0."""
    return float(np.maximum(x, 0).sum())


def hinge_gradient(x: Array) -> Array:
    """Return the gradient of `hinge`."""
    return np.asarray((x > 0).astype(float))


NEAR = np.array([0.4, 3e-4, 1.1])  # an element closer to the kink than the step
CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any], Array, str]] = {
    "a right gradient": (smooth, smooth_gradient, X, "right"),
    "a gradient with the wrong sign": (smooth, lambda x: -smooth_gradient(x), X, "wrong"),
    "a gradient that is off by one part in a hundred thousand": (
        smooth,
        lambda x: smooth_gradient(x) * (1 + 1e-5),
        X,
        "wrong",
    ),
    "a right gradient of max(x, 0), far from its kinks": (hinge, hinge_gradient, X, "right"),
    "a wrong gradient of max(x, 0), far from its kinks": (hinge, lambda x: np.ones(3), X, "wrong"),
    "max(x, 0) near a kink": (hinge, hinge_gradient, NEAR, "kink"),
    "a wrong gradient of max(x, 0), near a kink": (hinge, lambda x: -hinge_gradient(x), NEAR, "kink"),
}
EXACT = float(smooth_gradient(X) @ U)


def steps(answer: Answer) -> list[Step]:
    """Return checks of a difference, of a slope with its bound, and of verdicts."""

    def check_central() -> None:
        found, expected = answer.central(smooth, X, U, 0.1), (smooth(X + 0.1 * U) - smooth(X - 0.1 * U)) / 0.2
        expect(abs(found - expected) < 1e-12, f"central: expected {expected:.10f} for h = 0.1, got {found:.10f}")

    def check_slope() -> None:
        result = answer.slope(smooth, X, U)
        expect(isinstance(result, tuple | list) and len(result) == 2, "slope: expected two numbers, slope and bound")
        found, bound = result
        error = abs(found - EXACT)
        expect(error < 1e-9, f"slope: expected {EXACT:.12f}, got {found:.12f}", f"error {error:.1e}")
        expect(error <= bound < 1e-4, f"slope: the error is {error:.1e}, your bound {bound:.1e}")
        least = answer.slope(lambda x: float(3 * x[0]), X, U)[1]
        expect(least >= 1e-10, f"slope of a linear function: expected a bound of at least 1e-10, got {least:.1e}")

    def check_verdict(name: str) -> None:
        f, gradient, x, right = CASES[name]
        found = answer.verdict(f, gradient, x, U)
        expect(found == right, f"verdict on {name}: expected {right!r}, got {found!r}")

    return [
        Step("a central difference", check_central),
        Step("a slope and its bound", check_slope),
        *(Step(f"the verdict on {name}", lambda n=name: check_verdict(n)) for name in CASES),  # type: ignore[misc]  # the default of the lambda
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of a difference, of the order of the slope's error, and of each verdict."""

    def error() -> Any:
        return np.round(4 * np.log10(abs(answer.slope(smooth, X, U)[0] - EXACT) + 1e-11))

    names = ["right", "wrong", "kink"]
    return [
        lambda: np.round(answer.central(smooth, X, U, 0.1), 6),
        error,
        *(lambda c=case: names.index(answer.verdict(*c[:3], U)) for case in CASES.values()),
    ]
