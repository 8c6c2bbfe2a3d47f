"""Grades `augmentation`: shifts and mixtures of small images."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case, Input
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, same_values


@st.composite
def draw_shift(draw: Any) -> Case:
    """Draw images, and a shift of each that may be larger than the image."""
    n, height, width = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    down, right = (tuple(draw(st.integers(-limit, limit)) for _ in range(n)) for limit in (height, width))
    options = {"down": down, "right": right}
    return Case(options=options, inputs=(Input((n, height, width, draw(st.integers(1, 2)))),))


@st.composite
def draw_mixture(draw: Any) -> Case:
    """Draw images, targets, shares and partners."""
    n, classes = draw(st.integers(2, 4)), draw(st.integers(2, 3))
    images = (n, draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 2)))
    options = {"partner": tuple(draw(st.permutations(range(n))))}
    return Case(options=options, inputs=(Input(images), Input((n, classes), 0.0, 1.0), Input((n,), 0.0, 1.0)))


def shifted(images: Array, down: Any, right: Any) -> Array:
    """Return shifted images, pixel by pixel."""
    moved = np.zeros_like(images)
    for n, row, column in np.ndindex(images.shape[:3]):
        r, c = row + down[n], column + right[n]
        if 0 <= r < images.shape[1] and 0 <= c < images.shape[2]:
            moved[n, r, c] = images[n, row, column]
    return moved


def mixed(images: Array, targets: Array, share: Array, partner: Any) -> tuple[Array, Array]:
    """Return mixed images and targets, image by image."""
    pairs = list(zip(share, range(len(images)), partner, strict=True))
    return tuple(np.stack([s * a[i] + (1 - s) * a[j] for s, i, j in pairs]) for a in (images, targets))  # type: ignore[return-value]  # two arrays


def steps(answer: Answer) -> list[Step]:
    """Return checks of shifts and of mixtures."""

    def shift(images: Array, down: Any, right: Any) -> Any:
        return answer.shift(images, np.array(down), np.array(right))

    def mixup(images: Array, targets: Array, share: Array, partner: Any) -> Any:
        return answer.mixup(images, targets, np.array(partner), share)

    return [
        Step("shifted images", lambda: same_values(shift, shifted, draw_shift())),
        Step("mixed images and targets", lambda: same_values(mixup, mixed, draw_mixture())),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of shifts, of mixed images and of mixed targets."""
    rng = np.random.default_rng(0)
    images, targets = rng.random((3, 4, 5, 1)), np.eye(3)
    share, partner = np.array([0.9, 0.6, 0.3]), np.array([1, 2, 0])
    return [
        lambda: answer.shift(images, np.array([1, 0, -2]), np.array([2, -1, 0])),
        lambda: answer.mixup(images, targets, partner, share)[0],
        lambda: answer.mixup(images, targets, partner, share)[1],
    ]
