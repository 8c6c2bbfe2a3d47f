"""Grades `conv2d`: the gradients of a convolution."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case, Input
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, right_gradient


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw images, filters and biases."""
    kernel_size, channels, out = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    shape = (draw(st.integers(1, 2)), *(kernel_size + draw(st.integers(0, 2)) for _ in "hw"), channels)
    return Case(inputs=(Input(shape), Input((kernel_size, kernel_size, channels, out)), Input((out,))))


def conv2d(x: Array, w: Array, b: Array, stride: int) -> Array:
    """Return a convolution, as a sum over the positions inside the window."""
    kernel_size = len(w)
    rows, columns = ((length - kernel_size) // stride + 1 for length in x.shape[1:3])
    y = np.zeros((len(x), rows, columns, w.shape[-1])) + b
    for i in range(kernel_size):
        for j in range(kernel_size):
            y = y + x[:, i : i + rows * stride : stride, j : j + columns * stride : stride] @ w[i, j]
    return y


def steps(answer: Answer) -> list[Step]:
    """Return the checks of the gradients for windows that move by one and by two pixels."""

    def check(stride: int) -> None:
        def forward(x: Array, w: Array, b: Array) -> Array:
            return conv2d(x, w, b, stride)

        def backward(g: Array, x: Array, w: Array, b: Array) -> Any:
            return answer.conv2d_backward(g, x, w, stride)

        right_gradient(forward, backward, draw_case(), complex_safe=True)

    return [Step(f"gradients of x, w and b at stride {s}", lambda s=s: check(s)) for s in (1, 2)]  # type: ignore[misc]  # the default of the lambda


def probes(answer: Answer) -> list[Probe]:
    """Return a probe of each gradient."""
    rng = np.random.default_rng(0)
    g, x, w = rng.normal(size=(2, 3, 3, 3)), rng.normal(size=(2, 4, 4, 2)), rng.normal(size=(2, 2, 2, 3))
    return [lambda k=k: answer.conv2d_backward(g, x, w, 1)[k] for k in range(3)]  # type: ignore[misc]  # the default of the lambda
