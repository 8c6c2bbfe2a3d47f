"""The kit kills every planted bug in a plugin in a `ci` run, by the expected property, and passes the correct twins."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.planted_bugs import augmentations, data, losses, metrics, models, optimizers, schedules
from tests.planted_bugs.planting import CI, PLUGIN_BUGS
from tinygrad_lab.conformance.kinds.table import INSPECT, PROPERTIES, inspect_plugin
from tinygrad_lab.registry import KINDS

TWINS = [
    *(("model", *twin) for twin in models.TWINS),
    *(("data", *twin) for twin in data.TWINS),
    *(("augmentation", *twin) for twin in augmentations.TWINS),
    *(("loss", *twin) for twin in losses.TWINS),
    *(("optimizer", *twin) for twin in optimizers.TWINS),
    *(("schedule", thing, None) for thing in schedules.TWINS),
    *(("metric", *twin) for twin in metrics.TWINS),
]


LONG = {"fresh_process"}  # starts another process
SMALL = {"data": ["digits", "image_folder"], "model": ["gap7", "lenet5", "sequence_classifier"]}  # the others take long


def test_the_corpus_is_large_enough() -> None:
    planted = Counter(bug.kind for bug in PLUGIN_BUGS.values())
    assert all(planted[kind] >= 6 for kind in PROPERTIES if kind != "layer"), planted


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (bug.by in LONG or bug.kind == "model"))
        for name, bug in PLUGIN_BUGS.items()
    ],
)
def test_the_kit_kills_each_planted_bug(name: str) -> None:
    bug = PLUGIN_BUGS[name]
    failure = bug.inspect([bug.by], CI).properties[bug.by].failure
    assert failure is not None, f"{bug.kind}: {bug.wrong}; {bug.by} passes it"
    assert bug.says in failure.headline


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "thing", "cases"), TWINS, ids=lambda value: getattr(value, "__name__", None))
def test_correct_twin_passes(kind: str, thing: Any, cases: Any) -> None:
    result = INSPECT[kind](thing, cases, profile=CI)
    assert not [f"{p.name}: {p.failure.headline}" for p in result.failures if p.failure]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["augmentation", "data", "metric", "model", "schedule"])
def test_built_in_plugins_pass(kind: str) -> None:
    names = SMALL.get(kind) or [name for name in KINDS[kind] if "." not in name]
    results = [inspect_plugin(kind, name, profile=CI) for name in names]
    assert [report for result in results for report in result.reports()] == []
    assert all(result.examples for result in results if not result.skipped)
