"""Verdicts: comparisons of arrays, their measures and tolerances."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinygrad_lab.conformance.trials.results import PropertyResult
from tinygrad_lab.conformance.trials.verdict import Measure, NotFinite, Violation, agree, demand


def test_agree_returns_the_measured_error():
    measure = agree("y", np.array([1.0, 2.0]), np.array([1.0, 2.5]), 1.0)
    assert measure == Measure(0.5, 1.0)
    assert measure.ratio == 0.5


def test_disagreement_names_the_entry():
    with pytest.raises(Violation, match=r"y: expected 2, got 2.1 at \(1,\)") as caught:
        agree("y", np.array([1.0, 2.1]), np.array([1.0, 2.0]), 1e-3)
    assert caught.value.measure.error > caught.value.measure.tolerance


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_never_agree(broken):
    wrong, right = np.array([1.0, broken]), np.array([1.0, 2.0])
    said = rf"expected finite numbers, got {broken} at \(1,\) \(NaN or infinity in 1 of 2 entries\)"
    for got, expected in ((wrong, right), (right, wrong), (wrong, wrong)):
        with pytest.raises(NotFinite, match=said):
            agree("y", got, expected, 1e-3)
        with pytest.raises(NotFinite, match=said):
            agree("y", got, expected, broken)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_non_finite_numbers_may_be_allowed_to_equal_each_other(broken):
    there = np.array([broken, 1.0])
    assert agree("y", there, there, 0.0, finite=False) == Measure(0.0, 0.0)
    for got, expected in ((there, np.ones(2)), (np.ones(2), there)):
        with pytest.raises(Violation, match="1 of 2 entries differ"):
            agree("y", got, expected, 1.0, finite=False)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_tolerance_must_be_finite(broken):
    for tolerance in (broken, np.array([1.0, broken])):
        with pytest.raises(ValueError, match=f"y: expected a finite tolerance, got {broken}"):
            agree("y", np.ones(2), np.ones(2), tolerance)
    with pytest.raises(ValueError, match="a measure: expected a finite tolerance"):
        Measure(0.0, broken)


def test_an_error_of_nan_is_beyond_every_tolerance():
    measure = Measure(np.nan, 1.0)
    assert not measure.holds
    assert measure.ratio == math.inf
    assert Measure.worst([Measure(0.5, 1.0), measure]) is measure


def test_shapes_must_be_the_same():
    with pytest.raises(Violation, match=r"expected shape \(2,\), got \(1, 2\)"):
        agree("y", np.zeros((1, 2)), np.zeros(2), 1.0)


def test_the_worst_measure_is_the_nearest_to_its_tolerance():
    assert Measure.worst([Measure(1.0, 10.0), Measure(0.1, 0.2), Measure()]) == Measure(0.1, 0.2)
    assert Measure.worst([]) == Measure()
    assert Measure(1.0, 0.0).ratio == math.inf


def test_demand_raises_if_its_condition_is_false():
    demand(True, "never said")
    with pytest.raises(Violation, match="said"):
        demand(False, "said")


def test_a_result_counts_examples_and_keeps_the_worst_error():
    result = PropertyResult("gradients")
    assert not result.needless
    result.add(Measure(1e-12, 1e-9))
    result.add(Measure(0.0, 0.0))
    assert result.as_json() == {
        "name": "gradients",
        "passed": True,
        "examples": 2,
        "worst_error": 1e-12,
        "tolerance": 1e-9,
    }
