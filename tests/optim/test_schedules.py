"""Schedules compared with their closed forms, their properties, and the state of the plateau schedule."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lab import registry
from tinygrad_lab.errors import ConfigError, OptionError, PluginError, StateError
from tinygrad_lab.optim import SGD, schedules
from tinygrad_lab.optim.schedules import (
    Constant,
    CosineDecay,
    ExponentialDecay,
    MultiStepDecay,
    OneCycle,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    WarmUp,
)

times = st.floats(0, 1000)
quarters = st.integers(0, 4000).map(lambda n: n / 4)  # differences of these numbers are exact
factors = st.floats(0.01, 1)
lengths = st.floats(0.5, 500)


@given(t=quarters, start=quarters, interval=st.integers(1, 50), factor=factors)
def test_step_decay_multiplies_once_an_interval(t: float, start: float, interval: int, factor: float) -> None:
    falls = len([1 for k in range(1001) if start + k * interval <= t])
    assert StepDecay(start=start, interval=interval, factor=factor)(t) == pytest.approx(factor**falls, rel=1e-9)


def test_the_step_decay_of_a_published_recipe() -> None:
    """From epoch 75 on, the rate is multiplied by 0.9 every 5 epochs; epochs may be fractions."""
    schedule = StepDecay(start=75, interval=5, factor=0.9)
    assert [schedule(t) for t in (0, 74.99)] == [1.0, 1.0]
    assert [schedule(t) for t in (75, 79.99, 80, 124.5)] == pytest.approx([0.9, 0.9, 0.81, 0.9**10])


@given(t=times, milestones=st.lists(times, max_size=5, unique=True).map(sorted), factor=factors)
def test_multi_step_decay_multiplies_at_each_milestone(t: float, milestones: list[float], factor: float) -> None:
    passed = sum(m <= t for m in milestones)
    assert MultiStepDecay(milestones=milestones, factor=factor)(t) == pytest.approx(factor**passed)


@given(t=times, factor=st.floats(0.9, 1))
def test_exponential_decay(t: float, factor: float) -> None:
    assert ExponentialDecay(factor=factor)(t) == pytest.approx(math.exp(t * math.log(factor)))


@given(t=times, length=lengths, final=st.floats(0, 1))
def test_cosine_decay(t: float, length: float, final: float) -> None:
    u = min(t, length)
    expected = final + (1 - final) * (1 + math.cos(math.pi * u / length)) / 2
    assert CosineDecay(length=length, final=final)(t) == pytest.approx(expected, abs=1e-12)


@given(u=st.floats(0, 1), length=lengths, rise=st.floats(0.01, 0.99), start=st.floats(0, 1), final=st.floats(0, 1))
def test_one_cycle_rises_then_falls(u: float, length: float, rise: float, start: float, final: float) -> None:
    schedule = OneCycle(length=length, rise=rise, start=start, final=final)
    assert schedule(0) == pytest.approx(start)
    assert schedule(rise * length) == pytest.approx(1.0)
    assert schedule(length) == pytest.approx(final)
    assert schedule(2 * length) == pytest.approx(final)
    peak = rise * length
    assert schedule(u * peak) == pytest.approx(start + (1 - start) * (1 - math.cos(math.pi * u)) / 2, abs=1e-9)
    assert schedule(peak + u * (length - peak)) == pytest.approx(
        final + (1 - final) * (1 + math.cos(math.pi * u)) / 2, abs=1e-7
    )


@given(t=times, length=st.floats(0, 500), start=st.floats(0, 1))
def test_warm_up_is_followed_by_the_other_schedule_from_its_start(t: float, length: float, start: float) -> None:
    after = ExponentialDecay(factor=0.99)
    schedule = WarmUp(length=length, start=start, after=after)
    expected = start + (1 - start) * t / length if t < length else after(t - length)
    assert schedule(t) == pytest.approx(expected)
    assert (WarmUp(length=length, start=start) * after)(t) == pytest.approx(
        (start + (1 - start) * t / length if t < length else 1.0) * after(t)
    )


def observed(schedule: Schedule, *metrics: float) -> list[float]:
    factors = []
    for metric in metrics:
        schedule.observe(metric)
        factors.append(schedule(0))
    return factors


def test_plateau_reduces_the_rate_after_patience_epochs() -> None:
    schedule = ReduceOnPlateau(factor=0.5, patience=2)
    assert observed(schedule, 1.0, 0.9, 0.9, 0.95, 0.9, 0.9, 0.9, 0.9) == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25]


def test_plateau_of_a_metric_that_rises() -> None:
    schedule = ReduceOnPlateau(factor=0.5, patience=0, mode="max", threshold=0.1)
    assert observed(schedule, 0.5, 0.6, 0.65, 0.7) == [1, 1, 0.5, 0.5]


def test_a_plateau_after_a_warm_up_loses_no_patience_in_it() -> None:
    schedule = WarmUp(length=3, start=0.5, after=ReduceOnPlateau(factor=0.5, patience=1))
    factors = []
    for epoch in range(7):
        factors.append(schedule(epoch))
        schedule.observe(1.0)
    assert factors == pytest.approx([0.5, 2 / 3, 5 / 6, 1, 1, 0.5, 0.5])


def test_two_plateaus_of_different_metrics_are_refused() -> None:
    with pytest.raises(OptionError, match="expected one metric to drive both"):
        _ = (ReduceOnPlateau() * ReduceOnPlateau(mode="max")).metric


def test_plateau_has_a_cooldown_and_a_lowest_factor() -> None:
    schedule = ReduceOnPlateau(factor=0.1, patience=0, cooldown=2, lowest=0.05)
    assert observed(schedule, 1, 1, 1, 1, 1, 1) == pytest.approx([1, 0.1, 0.1, 0.1, 0.05, 0.05])


@pytest.mark.parametrize("first", [math.nan, math.inf])
def test_a_metric_that_is_not_finite_does_not_count_as_improvement(first: float) -> None:
    schedule = ReduceOnPlateau(factor=0.5, patience=1)
    assert observed(schedule, first, 2.0, math.nan, 1.0, math.nan, math.nan) == [1, 1, 1, 1, 1, 0.5]


@pytest.mark.parametrize("cut", range(10))
@pytest.mark.parametrize(
    "make",
    [
        lambda: ReduceOnPlateau(factor=0.5, patience=1, cooldown=1),
        lambda: WarmUp(length=3, after=ReduceOnPlateau(factor=0.5, patience=1, cooldown=1)),
        lambda: CosineDecay(length=10) * ReduceOnPlateau(factor=0.5, patience=1) * ReduceOnPlateau(patience=2),
    ],
)
def test_a_schedule_continues_from_its_state(make: Any, cut: int) -> None:
    metrics = [1.0, 0.8, 0.9, 0.85, 0.9, 0.7, 0.7, 0.8, 0.7, 0.75]

    def follow(schedule: Schedule, start: int, stop: int) -> list[float]:
        factors = []
        for t in range(start, stop):
            schedule.observe(metrics[t])
            factors.append(schedule(t))
        return factors

    expected = follow(make(), 0, 10)
    first, second = make(), make()
    follow(first, 0, cut)
    second.load_state(json.loads(json.dumps(first.state())))
    assert follow(second, cut, 10) == expected[cut:]


@pytest.mark.parametrize("schedule", [Constant(), ReduceOnPlateau(), Constant() * ReduceOnPlateau()])
def test_a_state_of_another_schedule_is_refused(schedule: Schedule) -> None:
    with pytest.raises(StateError, match=r"expected a state with .* unknown .*something"):
        schedule.load_state({"something": 1})


def test_schedules_drive_an_optimizer() -> None:
    import numpy as np

    import tinygrad_lab as tgl

    p = tgl.Parameter(np.zeros(1))
    optimizer, schedule, places = SGD({"p": p}, lr=0.5), WarmUp(length=2, start=0.5), []
    base_lr = optimizer.lr
    for t in range(3):
        optimizer.lr = base_lr * schedule(t)
        (p * -1.0).sum().backward()
        optimizer.step()
        places.append(p.item())
    assert places == pytest.approx([0.25, 0.625, 1.125])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StepDecay(start=0, interval=0, factor=0.5), "StepDecay: expected interval above 0, got 0"),
        (lambda: MultiStepDecay(milestones=[2, 1]), "increasing milestones"),
        (lambda: MultiStepDecay(milestones=[1], factor=0), "factor above 0"),
        (lambda: ExponentialDecay(factor=-1), "factor above 0"),
        (lambda: CosineDecay(length=0), "length above 0"),
        (lambda: CosineDecay(length=1, final=-1), "final of 0 or more"),
        (lambda: OneCycle(length=1, rise=1.0), "rise between 0 and 1"),
        (lambda: WarmUp(length=-1), "length of 0 or more"),
        (lambda: ReduceOnPlateau(factor=1.0), "factor below 1"),
        (lambda: ReduceOnPlateau(mode="best"), "mode 'min' or 'max'"),
        (lambda: ReduceOnPlateau(patience=-1), "patience of 0 or more"),
    ],
)
def test_wrong_options_of_schedules_are_refused(make: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()


def test_schedules_are_built_from_plain_values() -> None:
    description = {"name": "warm_up", "length": 5, "after": {"name": "multi_step", "milestones": [80, 120]}}
    schedule = registry.schedules.make(description)
    assert schedule == WarmUp(length=5, after=MultiStepDecay(milestones=[80, 120]))


@pytest.mark.parametrize(
    ("description", "error", "message"),
    [
        ({"length": 5}, ConfigError, "schedules: expected a table with the name of a plugin, got {'length': 5}"),
        ({"name": "cosin", "length": 5}, PluginError, "did you mean 'cosine'"),
        (
            {"name": "cosine", "lenght": 5},
            ConfigError,
            "option of 'cosine': .*got 'lenght'; did you mean 'length'",
        ),
        ({"name": "cosine"}, ConfigError, "length"),
    ],
)
def test_wrong_descriptions_are_refused(description: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        registry.schedules.make(description)


def test_every_schedule_is_registered() -> None:
    names = {
        "constant": "Constant",
        "cosine": "CosineDecay",
        "exponential": "ExponentialDecay",
        "multi_step": "MultiStepDecay",
        "one_cycle": "OneCycle",
        "plateau": "ReduceOnPlateau",
        "step": "StepDecay",
        "warm_up": "WarmUp",
    }
    assert {name: cls.__name__ for name, cls in registry.schedules.items()} == names
    assert all(issubclass(cls, schedules.Schedule) for cls in registry.schedules.values())
