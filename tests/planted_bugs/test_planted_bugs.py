"""The kit kills every planted bug in a `ci` run, by the expected property, and passes every correct twin."""

from __future__ import annotations

import pytest

from tests.planted_bugs.corpus import BUGS
from tests.planted_bugs.planting import CI
from tinygrad_lab.conformance.trials.verdict import Violation
from tinygrad_lab.errors import LabError

ANYTHING = {  # bugs that raise other errors than those of the kit or the framework
    "empty_batch_divides": ZeroDivisionError,
    "kept_and_dropped_exchanged": AssertionError,  # in the statistics of the layer's author
    "frozen_noise": AssertionError,
}
TWINS = {bug.layer: bug for bug in BUGS.values()}


def test_the_corpus_is_large_enough() -> None:
    assert len(BUGS) >= 60


@pytest.mark.parametrize("name", BUGS)
def test_the_kit_kills_each_planted_bug(name: str) -> None:
    bug = BUGS[name]
    result = bug.inspect([bug.by], CI)
    failure = result.properties[bug.by].failure
    assert failure is not None, f"{bug.layer}: {bug.wrong}; {bug.by} passes it"
    assert isinstance(failure.error, ANYTHING.get(name, (Violation, LabError))), "the planted bug itself fails"


@pytest.mark.slow
@pytest.mark.parametrize("layer", TWINS)
def test_correct_twin_passes(layer: str) -> None:
    properties = {bug.by for bug in BUGS.values() if bug.layer == layer}
    properties -= {"kernels", "misfits"}  # the correct layer has no kernels
    result = TWINS[layer].inspect_twin(properties, CI)
    assert not [f"{p.name}: {p.failure.headline}" for p in result.failures if p.failure]
    assert all(result.properties[name].examples for name in properties)
