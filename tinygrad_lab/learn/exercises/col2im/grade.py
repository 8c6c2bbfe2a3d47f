"""Grades `col2im` as the vector-Jacobian product of im2col."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.backend import Array
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, right_gradient

WINDOWS = {"windows that touch": (2, 2), "windows that overlap": (3, 1), "windows that leave pixels out": (2, 3)}


def im2col(x: Array, kernel_size: int, stride: int) -> Array:
    """Return the rows of im2col, by NumPy's views of windows."""
    views = np.lib.stride_tricks.sliding_window_view(x, (kernel_size, kernel_size), axis=(1, 2))[:, ::stride, ::stride]
    patches = views.transpose(0, 1, 2, 4, 5, 3)  # (N, Ho, Wo, C, k, k) -> (N, Ho, Wo, k, k, C)
    return np.ascontiguousarray(patches).reshape(-1, kernel_size * kernel_size * x.shape[-1])


@st.composite
def draw_shape(draw: Any, kernel_size: int) -> tuple[int, ...]:
    """Draw the shape of images that are at least as large as the window."""
    return draw(st.integers(1, 2)), *(kernel_size + draw(st.integers(0, 3)) for _ in "hw"), draw(st.integers(1, 2))


def steps(answer: Answer) -> list[Step]:
    """Return the checks for windows that touch, that overlap, and that leave pixels out."""

    def check(kernel_size: int, stride: int) -> None:
        right_gradient(
            lambda x: im2col(x, kernel_size, stride),
            lambda g, x: answer.col2im(g, x.shape, kernel_size, stride),
            draw_shape(kernel_size),
            complex_safe=True,
        )

    return [Step(name, lambda w=w, s=s: check(w, s)) for name, (w, s) in WINDOWS.items()]  # type: ignore[misc]  # the default of the lambda


def probes(answer: Answer) -> list[Probe]:
    """Return probes with windows that touch, and with windows that overlap."""
    g = np.arange(9 * 18.0).reshape(9, 18)
    return [
        lambda: answer.col2im(g[:4, :8], (1, 4, 4, 2), 2, 2),
        lambda: answer.col2im(g, (1, 5, 5, 2), 3, 1),
    ]
