"""Properties of derivatives: the directions that they check, and the smallest error that they must find."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lab.conformance.cases.case import Case, Input, LayerCases
from tinygrad_lab.conformance.properties.derivatives import UNITS, directions_of, gradients
from tinygrad_lab.conformance.trials.subject import RuleSubject
from tinygrad_lab.conformance.trials.trial import Effort, Trial
from tinygrad_lab.conformance.trials.verdict import Violation


def trial_of(seed: int, *shapes: tuple[int, ...], wrong: float = 1.0) -> Trial:
    """A trial of the sum of the arrays' sines; one coordinate of the first gradient is multiplied by `wrong`."""
    rng = np.random.default_rng(seed)
    arrays = [rng.uniform(-1, 1, shape) for shape in shapes]
    which = int(rng.integers(arrays[0].size))

    def forward(*xs: Any) -> Any:
        return sum(np.sin(x).sum() for x in xs)

    def vjp(g: Any, *xs: Any) -> Any:
        found = [g * np.cos(x) for x in xs]
        found[0].reshape(-1)[which] *= wrong
        return tuple(found)

    case = Case(inputs=tuple(map(Input, shapes)), seed=seed)
    return Trial(case, LayerCases(st.just(case)), RuleSubject(forward, vjp, arrays), None, Effort())


def test_short_arguments_are_checked_along_every_unit_vector() -> None:
    found = list(directions_of(trial_of(0, (4, 3), (2,))))
    assert [name for name, _ in found] == ["x0"] * 12 + ["x1"] * 2
    units = {tuple(np.flatnonzero(u)) for name, (u, other) in found if name == "x0" and other is None}
    assert units == {(i,) for i in range(12)}


def test_long_arguments_are_checked_along_dense_directions_and_some_unit_vectors() -> None:
    found = list(directions_of(trial_of(0, (1000,))))
    dense, units = found[:8], found[8:]
    assert all(name == "" and (abs(u) >= 0.5).all() for name, (u,) in dense)
    assert len(units) == 8 * UNITS
    assert all(name == "x" and np.count_nonzero(u) == 1 for name, (u,) in units)


@given(st.integers(0, 2**32 - 1))
def test_an_error_of_1_percent_in_one_coordinate_of_1000_is_found(seed: int) -> None:
    assert gradients(trial_of(seed, (1000,))).holds
    with pytest.raises(Violation, match="gradient of x"):
        gradients(trial_of(seed, (1000,), wrong=1.01))
