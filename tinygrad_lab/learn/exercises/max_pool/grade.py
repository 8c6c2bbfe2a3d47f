"""Grades `max_pool`: the maxima, the gradient where windows touch and where they overlap, and ties."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case, Input
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, right_gradient, same_values

SIZES = st.sampled_from(((1, 1), (2, 2), (2, 1), (3, 2)))


@st.composite
def draw_shape(draw: Any, kernel_size: int) -> tuple[int, ...]:
    """Draw the shape of images that are at least as large as the window."""
    return draw(st.integers(1, 2)), *(kernel_size + draw(st.integers(0, 2)) for _ in "hw"), draw(st.integers(1, 2))


@st.composite
def draw_images(draw: Any) -> Case:
    """Draw a window, a stride and images without ties."""
    kernel_size, stride = draw(SIZES)
    return Case(
        options={"kernel_size": kernel_size, "stride": stride},
        inputs=(Input(draw(draw_shape(kernel_size)), distinct=True),),
    )


@st.composite
def draw_ties(draw: Any) -> Case:
    """Draw cotangents, and images with few different numbers."""
    kernel_size, stride = draw(SIZES)
    shape = draw(draw_shape(kernel_size))
    rows, columns = ((length - kernel_size) // stride + 1 for length in shape[1:3])
    inputs = Input((shape[0], rows, columns, shape[3])), Input(shape, values=(0.0, 1.0))
    return Case(options={"kernel_size": kernel_size, "stride": stride}, inputs=inputs)


def max_pool(x: Array, kernel_size: int, stride: int) -> Array:
    """Return the maximum of each window, by NumPy's views of windows."""
    views = np.lib.stride_tricks.sliding_window_view(x, (kernel_size, kernel_size), axis=(1, 2))[:, ::stride, ::stride]
    return np.asarray(views.max(axis=(4, 5)))


def first_wins(g: Array, x: Array, kernel_size: int, stride: int) -> Array:
    """Return the gradient, computed window by window."""
    dx = np.zeros_like(x)
    for n, p, q, c in np.ndindex(*g.shape):
        held = x[n, p * stride : p * stride + kernel_size, q * stride : q * stride + kernel_size, c]
        i, j = divmod(int(held.argmax()), kernel_size)
        dx[n, p * stride + i, q * stride + j, c] += g[n, p, q, c]
    return dx


def steps(answer: Answer) -> list[Step]:
    """Return checks of the maxima, of gradients without ties, and of gradients with ties."""

    def gradient(kernel_size: int, stride: int) -> None:
        right_gradient(
            lambda x: max_pool(x, kernel_size, stride),
            lambda g, x: answer.max_pool_backward(g, x, kernel_size, stride),
            draw_shape(kernel_size).map(lambda shape: Input(shape, distinct=True)),
        )

    return [
        Step("maxima", lambda: same_values(answer.max_pool, max_pool, draw_images())),
        Step("gradient where windows touch", lambda: gradient(2, 2)),
        Step("gradient where windows overlap", lambda: gradient(3, 2)),
        Step("ties: the first wins", lambda: same_values(answer.max_pool_backward, first_wins, draw_ties())),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of the maxima, and of gradients where windows touch, where they overlap, and where maxima tie."""
    rng = np.random.default_rng(0)
    x = rng.permutation(np.arange(25.0)).reshape(1, 5, 5, 1)
    g = 1.0 + np.arange(4.0).reshape(1, 2, 2, 1)
    tied = np.zeros((1, 4, 4, 1))
    return [
        lambda: answer.max_pool(x, 2, 2),
        lambda: answer.max_pool_backward(g, x, 2, 2),
        lambda: answer.max_pool_backward(g, x, 3, 2),
        lambda: answer.max_pool_backward(g, tied, 2, 2),
    ]
