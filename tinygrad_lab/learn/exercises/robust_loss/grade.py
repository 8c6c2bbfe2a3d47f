"""Grades `robust_loss` as a loss, reductions included."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array
from tinygrad_lab.conformance import Case, Input, check_loss
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import PROFILE, Probe, Step, same_values


@st.composite
def draw_case(draw: Any, *reductions: str) -> Case:
    """Draw predictions, targets and options."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    options = {"delta": draw(st.sampled_from((0.5, 1.0, 2.0))), "reduction": draw(st.sampled_from(reductions))}
    return Case(options=options, inputs=(Input(shape), Input(shape, kind="constant")))


def reference(predictions: Array, targets: Array, delta: float, reduction: str) -> Array:
    """Return the loss, with its square root computed as the hypotenuse of 1 and r / delta."""
    losses = delta**2 * (np.hypot(1.0, (predictions - targets) / delta) - 1.0)
    return np.asarray({"none": losses, "sum": losses.sum(), "mean": losses.mean()}[reduction])


def steps(answer: Answer) -> list[Step]:
    """Return checks of the losses, of their reductions and of the derivatives."""

    def values(*reductions: str) -> None:
        def loss(predictions: Array, targets: Array, delta: float, reduction: str) -> Array:
            return np.asarray(unbox(answer.robust_loss(predictions, targets, delta=delta, reduction=reduction)))

        same_values(loss, reference, draw_case(*reductions))

    def whole() -> None:
        cases = draw_case("none", "sum", "mean")
        check_loss(answer.robust_loss, cases, reference=reference, profile=PROFILE)

    return [
        Step("the loss of each element", lambda: values("none")),
        Step("sums and means", lambda: values("sum", "mean")),
        Step("derivatives, and reductions that agree", whole),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of all losses, of their sum and mean, and of a gradient."""
    x, t = np.array([[0.3, -1.0, 4.0], [1.0, 0.0, -2.0]]), np.zeros((2, 3))
    return [
        lambda: answer.robust_loss(x, t, delta=2.0, reduction="none"),
        lambda: answer.robust_loss(x, t, delta=1.0, reduction="sum"),
        lambda: answer.robust_loss(x, t, delta=1.0, reduction="mean"),
        lambda: tgl.grad(lambda x: answer.robust_loss(x, t, delta=2.0, reduction="mean"))(x),
    ]
