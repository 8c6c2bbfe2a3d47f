"""Averages of weights over steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab.errors import OptionError, StateError
from tinygrad_lab.optim import ExponentialMovingAverage, StochasticWeightAverage, WeightAverage


class Scale(tgl.Layer):
    """A parameter and a buffer."""

    def __init__(self) -> None:
        self.scale = tgl.Parameter(np.zeros(3, "float32"))
        self.seen = tgl.Buffer(np.zeros(2, "float32"))

    def forward(self, *inputs: Any) -> Any:
        return inputs[0] * self.scale


KINDS = {"ema": lambda model: ExponentialMovingAverage(model, decay=0.9), "mean": StochasticWeightAverage}
each = pytest.mark.parametrize("kind", KINDS)
WEIGHTS = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")


def follow(average: WeightAverage, start: int = 0, stop: int = 50) -> np.ndarray:
    for i in range(start, stop):
        average.model.scale.assign(WEIGHTS[i])
        average.model.seen.assign(np.full(2, i, "float32"))
        average.update()
    return average.weights()["scale"]


def test_the_average_is_the_mean_of_all_steps() -> None:
    np.testing.assert_allclose(follow(StochasticWeightAverage(Scale())), WEIGHTS.mean(0), rtol=1e-5)


def test_the_moving_average_agrees_with_a_plain_loop() -> None:
    expected = WEIGHTS[0].astype("float64")
    for weights in WEIGHTS[1:]:
        expected = 0.9 * expected + 0.1 * weights
    np.testing.assert_allclose(follow(ExponentialMovingAverage(Scale(), decay=0.9)), expected, rtol=1e-5)


@each
def test_averaged_weights_are_a_state_that_does_not_change_later(kind: str) -> None:
    average = KINDS[kind](Scale())
    untouched = average.weights()
    follow(average, stop=10)
    weights = average.weights()
    held = weights["scale"].copy()
    other = Scale()
    other.load_state(weights)
    np.testing.assert_array_equal(other.scale.value, weights["scale"])
    np.testing.assert_array_equal(other.seen.value, [9, 9])  # buffers are copied from the model
    assert weights["scale"].dtype == np.float32
    follow(average, start=10, stop=20)
    np.testing.assert_array_equal(weights["scale"], held)
    np.testing.assert_array_equal(untouched["scale"], np.zeros(3))
    np.testing.assert_array_equal(average.model.scale.value, WEIGHTS[19])  # the model itself is not averaged


@each
def test_resuming_gives_the_same_bits(kind: str) -> None:
    expected = follow(KINDS[kind](Scale()))
    first = KINDS[kind](Scale())
    follow(first, stop=17)
    second = KINDS[kind](Scale())
    second.load_state(first.state())
    follow(first, start=17)
    np.testing.assert_array_equal(follow(second, start=17), expected)
    fresh = KINDS[kind](Scale())
    second.load_state(fresh.state())
    assert second.count == 0


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "missing"),
        ({"count": 3}, r"missing \['average/scale'\]"),
        ({"count": 3, "average/scale": np.zeros(3), "average/other": np.zeros(3)}, r"unknown \['average/other'\]"),
        ({"count": 3, "average/scale": np.zeros(4)}, r"scale of shape \(3,\), got \(4,\)"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(state: dict[str, Any], message: str) -> None:
    average = StochasticWeightAverage(Scale())
    follow(average, stop=2)
    with pytest.raises(StateError, match=message):
        average.load_state(state)
    assert average.count == 2


@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan")])
def test_the_decay_is_between_0_and_1(decay: float) -> None:
    with pytest.raises(OptionError, match="decay from 0 to 1"):
        ExponentialMovingAverage(Scale(), decay=decay)
