"""Plugins of every kind are found by name, skipped visibly, and reported with a case and the likely mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from tests.planted_bugs import schedules
from tinygrad_lab import registry
from tinygrad_lab.cli import main
from tinygrad_lab.conformance import (
    LayerCases,
    MetricCases,
    ScheduleCases,
    check_data,
    check_loss,
    check_metric,
    check_schedule,
)
from tinygrad_lab.conformance.kinds.schedules import SCHEDULE
from tinygrad_lab.conformance.kinds.table import INSPECT, PROPERTIES
from tinygrad_lab.conformance.session import check_plugins
from tinygrad_lab.conformance.trials.results import NonconformanceError
from tinygrad_lab.errors import ConfigError, OptionError, PluginError
from tinygrad_lab.optim.schedules import CosineDecay
from tinygrad_lab.registry import KINDS, plugins_named


def test_every_kind_has_a_check() -> None:
    assert KINDS.keys() == INSPECT.keys() == PROPERTIES.keys()
    assert {one.kind for one in KINDS.values()} == registry.REGISTRIES.keys() - {"cases"}


def test_a_name_stands_for_all_plugins_that_have_it() -> None:
    assert plugins_named(["mae"]) == [("loss", "mae"), ("metric", "mae")]
    assert plugins_named(["mae"], "metric") == [("metric", "mae")]
    assert len(plugins_named()) == sum(map(len, KINDS.values()))
    with pytest.raises(PluginError, match="expected the name of a plugin, got 'cosin'; did you mean 'cosine'"):
        plugins_named(["cosin"])
    with pytest.raises(PluginError, match="expected the name of a layer, got 'cosine'"):
        plugins_named(["cosine"], "layer")


def test_the_command_checks_one_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "mae", "--kind", "metric", "--profile", "quick", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["plugins"]
    assert (found["kind"], found["name"], found["skipped"]) == ("metric", "mae", "")
    assert max(p["examples"] for p in found["properties"]) == 5


def test_a_data_set_that_is_not_here_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TINYGRAD_LAB_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "nothing there" in check_data("mnist").skipped
    assert main(["check", "mnist", "cosine", "accuracy", "step", "--profile", "quick"]) == 0
    text = capsys.readouterr().out
    assert "skipped data mnist: mnist: expected 4 files" in text
    assert "3 of 3 pass, 1 skipped" in text


def test_only_kinds_with_a_wanted_property_are_checked() -> None:
    results = check_plugins(["mae", "cosine", "dropout"], properties=["resumes", "one_number"], examples=2)
    assert [(result.kind, set(result.properties)) for result in results] == [
        ("metric", {"one_number"}),
        ("schedule", {"resumes"}),
    ]
    with pytest.raises(ConfigError, match="expected a known name, got 'resume'; did you mean 'resumes'"):
        check_plugins(["cosine"], properties=["resume"])


def test_a_failure_names_the_property_the_smallest_case_and_the_mistake() -> None:
    with pytest.raises(NonconformanceError) as caught:
        check_schedule(schedules.Linear)
    text = str(caught.value)
    assert "Linear: factors does not hold" in text
    assert "hold the last value beyond the end" in text
    assert "case: Case(options={'length': 0.1})" in text
    assert "check_schedule(Linear, case=case)" in text
    (failure,) = [p.failure for p in caught.value.result.failures]
    assert failure is not None
    again = SCHEDULE.inspect(schedules.Linear, case=failure.case)
    assert [p.name for p in again.failures] == ["factors"]


def test_cases_belong_to_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ConfigError, match="schedule CosineDecay: expected cases of type ScheduleCases, got MetricCases"
    ):
        check_schedule(CosineDecay, MetricCases())
    monkeypatch.setitem(registry.cases._loaded, "cosine", LayerCases(st.nothing()))  # of a layer of this name
    assert SCHEDULE.inspect("cosine", examples=2).passed


@pytest.mark.parametrize("given", [CosineDecay(length=3), 3, None])
@pytest.mark.parametrize("check", [check_schedule, check_metric, check_loss, check_data])
def test_an_instance_in_place_of_a_class_is_refused(check: Any, given: Any) -> None:
    with pytest.raises(ConfigError, match="expected a registered name, a class or a function"):
        check(given)


def test_options_that_are_all_refused_are_no_evidence() -> None:
    class Picky(CosineDecay):
        def __post_init__(self) -> None:
            raise OptionError("Picky: expected something else")

    result = SCHEDULE.inspect(Picky)
    assert [p.name for p in result.failures] == ["adequacy"]
    assert SCHEDULE.inspect(Picky, ScheduleCases(options=st.just({"length": 1}))).failures[0].name == "factors"
