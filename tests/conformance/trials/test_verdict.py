"""Comparing arrays."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinygrad_lab.conformance.trials.results import PropertyResult
from tinygrad_lab.conformance.trials.verdict import Measure, Violation, agree, demand


def test_what_agrees_is_measured():
    measure = agree("y", np.array([1.0, 2.0]), np.array([1.0, 2.5]), 1.0)
    assert measure == Measure(0.5, 1.0)
    assert measure.ratio == 0.5


@pytest.mark.parametrize("got", [[1.0, np.nan], [1.0, np.inf], [1.0, 2.1]])
def test_what_does_not_agree_names_the_entry(got):
    with pytest.raises(Violation, match=r"y: expected 2, got .* at \(1,\)") as caught:
        agree("y", np.array(got), np.array([1.0, 2.0]), 1e-3)
    assert caught.value.measure.error > caught.value.measure.tolerance


def test_nan_agrees_with_nan_alone():
    assert agree("y", np.array([np.nan]), np.array([np.nan]), 0.0) == Measure(0.0, 0.0)
    assert agree("y", np.array([np.inf]), np.array([np.inf]), 0.0).error == 0


def test_shapes_must_be_the_same():
    with pytest.raises(Violation, match=r"expected shape \(2,\), got \(1, 2\)"):
        agree("y", np.zeros((1, 2)), np.zeros(2), 1.0)


def test_the_worst_is_the_nearest_to_its_tolerance():
    assert Measure.worst([Measure(1.0, 10.0), Measure(0.1, 0.2), Measure()]) == Measure(0.1, 0.2)
    assert Measure.worst([]) == Measure()
    assert Measure(1.0, 0.0).ratio == math.inf


def test_demand():
    demand(True, "never said")
    with pytest.raises(Violation, match="said"):
        demand(False, "said")


def test_a_result_counts_what_it_was_given():
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
