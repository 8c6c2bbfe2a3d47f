"""Grades `operation` as a function written in the engine's operations."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.backend import Array
from tinygrad_lab.conformance import Case, Input, check_function
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import PROFILE, Probe, Step, same_values


@st.composite
def draw_shapes(draw: Any) -> tuple[tuple[int, ...], ...]:
    """Draw two shapes that broadcast, such as those of several rows and of one row."""
    rows, columns = draw(st.integers(1, 3)), draw(st.integers(2, 3))
    pair = (rows, columns), draw(st.sampled_from(((rows, columns), (columns,), (rows, 1))))
    return pair[::-1] if draw(st.booleans()) else pair


SHAPES = draw_shapes()
FAR = SHAPES.map(lambda shapes: Case(inputs=tuple(Input(shape, -2000.0, 2000.0) for shape in shapes)))


def reference(x: Array, y: Array) -> Array:
    """Return NumPy's logaddexp."""
    return np.asarray(np.logaddexp(x, y))


def steps(answer: Answer) -> list[Step]:
    """Return checks of values, of large values, and of the kit's properties of an operation."""

    def check(shapes: Any) -> None:
        check_function(answer.log_add_exp, shapes, reference=reference, profile=PROFILE)

    return [
        Step("values", lambda: same_values(lambda x, y: answer.log_add_exp(x, y), reference, SHAPES)),
        Step(
            "values up to 2000 and down to -2000",
            lambda: same_values(lambda x, y: answer.log_add_exp(x, y), reference, FAR),
        ),
        Step("derivatives of first and second order, dtypes and layouts", lambda: check(SHAPES)),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of large values, of each gradient, of one with broadcasting, and of a second derivative."""
    x, y, g = np.array([0.5, -1.0]), np.array([1.5, 1.0]), np.array([2.0, 3.0])

    def slope(rule: str, *arguments: Any) -> Any:
        return tgl.vjp(answer.log_add_exp, *arguments)[1](g)[rule == "y"]

    def curvature() -> Any:
        return tgl.hvp(lambda x: tgl.sum(answer.log_add_exp(x, y)), x, g)

    return [
        lambda: answer.log_add_exp(1000.0 * x, 1000.0 * y),
        lambda: slope("x", x, y),
        lambda: slope("y", x, y),
        lambda: slope("x", x[:1], y),
        curvature,
    ]
