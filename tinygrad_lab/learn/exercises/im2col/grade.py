"""Grades `im2col`: its rows, compared with a loop over positions."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case, Input
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, same_values


@st.composite
def draw_case(draw: Any, most_stride: int) -> Case:
    """Draw a window, a stride, and images that are at least as large as the window."""
    kernel_size, stride = draw(st.integers(1, 3)), draw(st.integers(1, most_stride))
    n, height, width, channels = (draw(st.integers(1, 2)), *(kernel_size + draw(st.integers(0, 3)) for _ in "hw"), 2)
    return Case(options={"kernel_size": kernel_size, "stride": stride}, inputs=(Input((n, height, width, channels)),))


def reference(x: Array, kernel_size: int, stride: int) -> Array:
    """Return the rows, computed one by one."""
    rows = [
        image[p : p + kernel_size, q : q + kernel_size].reshape(-1)
        for image in x
        for p in range(0, image.shape[0] - kernel_size + 1, stride)
        for q in range(0, image.shape[1] - kernel_size + 1, stride)
    ]
    return np.stack(rows)


def steps(answer: Answer) -> list[Step]:
    """Return the checks for windows that move by one pixel, and by any number."""
    return [
        Step("stride 1", lambda: same_values(answer.im2col, reference, draw_case(1))),
        Step("any stride", lambda: same_values(answer.im2col, reference, draw_case(3))),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes at two strides."""
    x = np.arange(2 * 5 * 6 * 2.0).reshape(2, 5, 6, 2)
    return [lambda: answer.im2col(x, 2, 1), lambda: answer.im2col(x, 2, 2)]
