"""Planted bugs of derivatives written by hand on plain arrays, without the engine."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.planted_bugs.planting import plant_vjp
from tinygrad_lab.conformance import strategies

SHAPES = strategies.shapes(1, 3)
SAME_SHAPES = SHAPES.map(lambda shape: (shape, shape))
AFFINE = st.tuples(strategies.batch_sizes(), strategies.features(), strategies.features()).map(
    lambda sizes: ((sizes[0], sizes[1]), (sizes[1], sizes[2]), (sizes[2],))
)


def plus(x: Any, y: Any) -> Any:
    """Return x + y."""
    return x + y


def affine(x: Any, w: Any, b: Any) -> Any:
    """Return x W + b."""
    return x @ w + b


def affine_vjp(g: Any, x: Any, w: Any, b: Any) -> Any:
    """Return the gradients of x W + b."""
    return g @ w.T, x.T @ g, g.sum(axis=0)


def tanh_vjp(g: Any, x: Any) -> Any:
    """Return the gradient of tanh."""
    return g * (1 - np.tanh(x) ** 2)


def _run_for_each_argument(g: Any, x: Any, w: Any, b: Any) -> Any:
    sums = [np.zeros_like(x), np.zeros_like(w), np.zeros_like(b)]
    for _ in sums:
        for total, gradient in zip(sums, affine_vjp(g, x, w, b), strict=True):
            total += gradient
    return tuple(sums)


class Workspace:
    """A derivative that reuses its buffers in later calls."""

    def __init__(self) -> None:
        self.sums: dict[Any, Any] = {}

    def __call__(self, g: Any, x: Any, w: Any, b: Any) -> Any:
        buffers = self.sums.setdefault((x.shape, w.shape), [np.zeros(a.shape) for a in (x, w, b)])
        for total, gradient in zip(buffers, affine_vjp(g, x, w, b), strict=True):
            total += gradient
        return tuple(np.array(total) for total in buffers)


class FirstCall:
    """A derivative that is computed once and reused in later calls."""

    def __init__(self) -> None:
        self.slopes: dict[Any, Any] = {}

    def __call__(self, g: Any, x: Any) -> Any:
        return g * self.slopes.setdefault(x.shape, 1 - np.tanh(x) ** 2)


def _in_place(g: Any, x: Any) -> Any:
    g *= 1 - np.tanh(x) ** 2
    return g


plant_vjp(
    "cotangent_handed_back",
    "the caller's cotangent itself is returned as the gradient of x",
    by="own_gradients",
    forward=plus,
    right=lambda g, x, y: (g.copy(), g.copy()),
    damaged=lambda g, x, y: (g, g.copy()),
    cases=SAME_SHAPES,
)


def _one_array_twice(g: Any, x: Any, y: Any) -> Any:
    gradient = g.copy()
    return gradient, gradient


plant_vjp(
    "one_array_for_two",
    "two arguments get the same array as their gradients",
    by="own_gradients",
    forward=plus,
    right=lambda g, x, y: (g.copy(), g.copy()),
    damaged=_one_array_twice,
    cases=SAME_SHAPES,
)
plant_vjp(
    "cotangent_overwritten",
    "the cotangent is multiplied in place",
    by="nothing_mutated",
    forward=np.tanh,
    right=tanh_vjp,
    damaged=_in_place,
    cases=SHAPES,
)
plant_vjp(
    "rule_run_three_times",
    "a rule that three arguments share runs once for each of them, and its results are added up",
    by="gradients",
    forward=affine,
    right=affine_vjp,
    damaged=_run_for_each_argument,
    cases=AFFINE,
)
plant_vjp(
    "workspace_not_cleared",
    "the gradients are added to those of earlier calls",
    by="determinism",
    forward=affine,
    right=affine_vjp,
    damaged=Workspace(),
    cases=AFFINE,
)
plant_vjp(
    "slopes_of_the_first_call",
    "the slopes of the first call with a shape are used in all later ones",
    by="gradients",
    forward=np.tanh,
    right=tanh_vjp,
    damaged=FirstCall(),
    cases=SHAPES,
)
