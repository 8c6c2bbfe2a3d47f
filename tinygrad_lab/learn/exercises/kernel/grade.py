"""Grades `kernel`: results, NaN, and the range of images that a call may write."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case, Input
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, expect, same_values

X = np.random.default_rng(0).normal(size=(3, 4, 5, 2))
BIAS = np.array([0.7, -0.2])


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw images, whose sides may be odd, and a bias."""
    channels = draw(st.integers(1, 2))
    shape = draw(st.integers(1, 3)), draw(st.integers(2, 5)), draw(st.integers(2, 5)), channels
    return Case(inputs=(Input(shape), Input((channels,))))


def relu_pool(x: Array, bias: Array) -> Array:
    """Return the result by four slices of the array."""
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    y = np.maximum(x + bias, 0.0)
    corners = [y[:, a:height:2, b:width:2] for a in (0, 1) for b in (0, 1)]
    return np.asarray(np.maximum(np.maximum(corners[0], corners[1]), np.maximum(corners[2], corners[3])))


def with_nan(place: tuple[int, int]) -> Array:
    """Return the images with a NaN at a place of the second image."""
    x = X.copy()
    x[(1, *place, 0)] = np.nan
    return x


def steps(answer: Answer) -> list[Step]:
    """Return checks of results, of NaN, and of the range."""

    def check_nan() -> None:
        for place in ((0, 0), (0, 1), (1, 0), (3, 3)):
            x = with_nan(place)
            found, right = answer.relu_pool(x, BIAS), relu_pool(x, BIAS)
            expect(np.array_equal(np.isnan(found), np.isnan(right)), f"NaN at pixel {place} of image 1 is lost")

    def check_range() -> None:
        for start, stop in ((0, 1), (1, 3), (2, 2)):
            out = np.full((3, 2, 2, 2), -1.0)
            answer.bench("fill_range")(out, X, BIAS, start, stop)
            expected = np.where((np.arange(3) >= start) & (np.arange(3) < stop), 1, 0)
            touched = (out != -1.0).any(axis=(1, 2, 3)).astype(int)
            shown = f"images {start} to {stop}: expected changes {expected}, got {touched}"
            expect(np.array_equal(touched, expected), "a call writes images that are not in its range", shown)

    return [
        Step("results", lambda: same_values(answer.relu_pool, relu_pool, draw_case())),
        Step("NaN goes through", check_nan),
        Step("only the images from start to stop", check_range),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of results, of where NaN goes through, and of a call for one image."""

    def part() -> Any:
        out = np.full((3, 2, 2, 2), -1.0)
        answer.bench("fill_range")(out, X, BIAS, 1, 2)
        return out

    return [
        lambda: answer.relu_pool(X, BIAS),
        lambda: np.isnan(answer.relu_pool(with_nan((0, 1)), BIAS)),
        lambda: np.isnan(answer.relu_pool(with_nan((0, 0)), BIAS)),
        part,
    ]
