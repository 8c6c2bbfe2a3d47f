"""Grades `initial_values`: fans, and the statistics of drawn weights."""

from __future__ import annotations

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, expect

SMALL = (4, 3), (1, 5), (3, 3, 2, 4), (5, 1, 1, 2)
LARGE = (80, 500), (3, 3, 40, 100)  # 40,000 and 36,000 weights


def fans(shape: tuple[int, ...]) -> Array:
    """Return the fans, by counting what a window holds."""
    *window, inputs, outputs = shape
    pixels = len(list(np.ndindex(*window)))
    return np.array([pixels * inputs, pixels * outputs])


def he_deviation(shape: tuple[int, ...]) -> float:
    """Return the standard deviation of He's rule."""
    return float(np.sqrt(2 / fans(shape)[0]))


def glorot_deviation(shape: tuple[int, ...]) -> float:
    """Return the standard deviation of Glorot's rule."""
    return float(np.sqrt(2 / fans(shape).sum()))


RULES = {"he_normal": he_deviation, "glorot_uniform": glorot_deviation}


def steps(answer: Answer) -> list[Step]:
    """Return checks of the fans, of the weights' statistics, and of a signal in ten layers."""

    def check_fans() -> None:
        for shape in SMALL:
            found, right = answer.fans(shape), fans(shape)
            expect(np.array_equal(found, right), f"fans({shape}): expected {tuple(right.tolist())}, got {found}")

    def check_weights(name: str, shape: tuple[int, ...]) -> None:
        w, wanted = np.asarray(getattr(answer, name)(shape, 0)), RULES[name](shape)
        expect(w.shape == shape, f"{name}: expected weights of shape {shape}, got {w.shape}")
        shown = f"expected mean 0, deviation {wanted:.4f}\ngiven mean {w.mean():.4f}, deviation {w.std():.4f}"
        expect(abs(w.mean()) < 0.03 * wanted, f"{name}, shape {shape}: the mean is wrong", shown)
        expect(abs(w.std() / wanted - 1) < 0.03, f"{name}, shape {shape}: the standard deviation is wrong", shown)
        fourth = np.mean((w - w.mean()) ** 4) / w.var() ** 2  # 3 for normal numbers, 1.8 for uniform ones
        right = 3.0 if name == "he_normal" else 1.8
        expect(abs(fourth / right - 1) < 0.1, f"{name}: the weights do not have the distribution that was asked for")
        other = np.asarray(getattr(answer, name)(shape, 1))
        expect(not np.array_equal(w, other), f"{name}: another seed gives the same weights")

    def check_signal() -> None:
        signal = np.random.default_rng(0).normal(size=(50, 200))
        before = np.sqrt(np.mean(signal**2))
        for layer in range(10):
            signal = np.maximum(signal, 0) @ answer.he_normal((200, 200), layer)
        ratio = np.sqrt(np.mean(signal**2)) / before
        expect(0.5 < ratio < 2, f"ten layers with ReLU make the signal {ratio:.2g} times as large: expected about 1")

    return [
        Step("fan_in and fan_out", check_fans),
        *(
            Step(f"{name} for weights of shape {shape}", lambda n=name, s=shape: check_weights(n, s))  # type: ignore[misc]  # the defaults of the lambda
            for name in RULES
            for shape in LARGE
        ),
        Step("the size of a signal in ten layers", check_signal),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of the fans, and of the rounded statistics of weights."""

    def ratio(name: str) -> Array:
        w = np.asarray(getattr(answer, name)(LARGE[0], 0))
        return np.round(np.array([w.mean(), w.std()]) / RULES[name](LARGE[0]) * 5) / 5

    return [lambda: answer.fans((3, 3, 2, 4)), lambda: ratio("he_normal"), lambda: ratio("glorot_uniform")]
