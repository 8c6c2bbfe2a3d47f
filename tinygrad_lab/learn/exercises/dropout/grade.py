"""Grades `dropout` as a random layer, recomputation included."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.conformance import Case, Input, LayerCases, check_layer, strategies
from tinygrad_lab.conformance.trials.verdict import agree
from tinygrad_lab.learn.answer import Answer, WrongAnswer
from tinygrad_lab.learn.judge import LAYER_STEPS, PROFILE, Probe, Step

MANY = 10_000  # numbers of which the mean is taken
RATES = st.sampled_from((0.25, 0.5, 0.75))


def mean_stays(layer: Any) -> None:
    """Demand that the mean of many outputs in training is that in evaluation, within seven standard errors."""
    kept = 1.0 - layer.config()["rate"]
    error = np.sqrt((1.0 / kept - 1.0) / MANY)
    agree("the mean of training outputs, against evaluation", np.mean(np.asarray(layer(np.ones(MANY)))), 1.0, 7 * error)


def cases_for(training: bool) -> LayerCases:
    """Return cases of one mode."""
    drawn = st.builds(
        lambda rate, shape: Case(args=(rate,), inputs=(Input(shape),), training=training),
        RATES,
        strategies.shapes(1, 2),
    )
    return LayerCases(drawn, random=training, statistics=mean_stays, reference=None if training else lambda layer, x: x)


def replayed(answer: Answer) -> None:
    """Demand that the same step draws the same mask again."""
    layer, x = answer.Dropout(0.5), np.ones(64)
    first = np.asarray(layer(x))
    layer.steps = 0
    if not np.array_equal(np.asarray(layer(x)), first):
        raise WrongAnswer("the same step, computed again, draws another mask")


def steps(answer: Answer) -> list[Step]:
    """Return checks of evaluation, of the mask's replay, of the mean and of the gradients."""

    def check(training: bool, *properties: str) -> None:
        check_layer(answer.Dropout, cases_for(training), profile=PROFILE, properties=properties)

    return [
        Step("evaluation changes nothing", lambda: check(False, "reference", "modes")),
        Step("the same step draws the same mask", lambda: replayed(answer)),
        Step("the mean stays the same", lambda: check(True, "statistics", "modes")),
        Step("gradients, with the forward computed again", lambda: check(True, *LAYER_STEPS)),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of the output values, of the share of kept numbers, of evaluation, and of the mask's replay."""

    def trained(x: Any) -> Any:
        layer = answer.Dropout(0.25)
        layer.steps = 0
        return np.asarray(layer(x))

    x = np.ones(4000)
    return [
        lambda: np.unique(trained(x)),
        lambda: abs((trained(x) > 0).mean() - 0.75) < 0.1,
        lambda: np.unique(np.asarray(answer.Dropout(0.25).eval()(x))),
        lambda: np.array_equal(trained(x), trained(x)),
    ]
