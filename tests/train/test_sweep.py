"""Sweeps: trials at once in several processes, trials that fail, and the picture."""

from __future__ import annotations

import json
import math
import operator
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tinygrad_lab.cli import main
from tinygrad_lab.distributed import workers
from tinygrad_lab.errors import ConfigError, DistributedError
from tinygrad_lab.inspect.trials import draw_trials, mean_interval
from tinygrad_lab.train import find_recipe, sweep, tuning
from tinygrad_lab.train.ledger import LEDGER, read_ledger
from tinygrad_lab.train.progress import Reporter

RECIPE = find_recipe("lenet5").override(["data.per_class=20", "training.epochs=1"])


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Run the trials in this process, last one first; return the list of the seeds that run."""
    ran: list[Any] = []

    def attempt(recipe: Any, trial: dict[str, Any], *rest: Any, **options: Any) -> None:
        ran.append(trial["seed"])
        score = recipe["optimizer"]["lr"] + trial["seed"] / 100
        trial |= {"status": "finished", "accuracy": score, "loss": 1.0, "images": 100, "epochs": 1, "seconds": 0.1}

    def call_each(function: Any, calls: Any, *, workers: int) -> Iterator[Any]:
        for call in reversed(calls):
            crashed = call[1]["seed"] == 13
            yield call, DistributedError("a worker\nwas killed") if crashed else function(*call)

    monkeypatch.setattr(sweep, "attempt", attempt)
    monkeypatch.setattr(sweep, "call_each", call_each)
    monkeypatch.setattr(tuning, "revision", lambda: "a1")
    monkeypatch.setattr(tuning, "build_trainer", lambda recipe, **options: None)
    return ran


def test_a_sweep_records_its_trials_and_continues_where_it_was(tmp_path: Path, in_process: list[Any]) -> None:
    recipe, settings = RECIPE.override(["training.seed=12"]), ["optimizer.lr=0.1,0.2"]
    trials = sweep.sweep(recipe, settings, seeds=3, ranks=1, folder=tmp_path)
    assert [(trial["settings"], trial["seed"]) for trial in trials] == [
        ([f"optimizer.lr={lr}"], seed) for lr in (0.1, 0.2) for seed in (12, 13, 14)
    ]
    assert [trial["status"] for trial in trials] == ["finished", "failed: a worker was killed", "finished"] * 2
    assert len(read_ledger(tmp_path / LEDGER)) == 6
    assert in_process == [14, 12, 14, 12]
    again = sweep.sweep(recipe, settings, seeds=3, ranks=1, folder=tmp_path)
    assert in_process == [14, 12, 14, 12]  # only those that failed were tried again
    assert [trial["status"] for trial in again] == [trial["status"] for trial in trials]


def test_a_sweep_prints_and_draws_its_ranking(
    tmp_path: Path, in_process: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sweep", "lenet5", "--set", "optimizer.lr=0.1,0.2", "--seeds", "2", "--folder", str(tmp_path)]
    assert main([*command, "--ranks", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "trial 1/4: optimizer.lr=0.2 (seed 1): finished"
    assert [line.split()[-1] for line in lines[4:6]] == ["optimizer.lr=0.2", "optimizer.lr=0.1"]
    assert lines[-1] == f"picture: {tmp_path / 'sweep.png'}"
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert main([*command, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 4
    assert main([*command, "--ranks", "0"]) == 1
    assert "--ranks: expected 1 to" in capsys.readouterr().err


def test_a_sweep_of_too_many_processes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the number of cores, got 100000"):
        sweep.sweep(RECIPE, [], ranks=100_000, folder=tmp_path)


def test_the_interval_of_one_seed_is_unknown() -> None:
    assert mean_interval([0.5]) == (-math.inf, math.inf)
    low, high = mean_interval([0.5, 0.5])
    assert low == high == 0.5
    assert draw_trials([], "no trials").startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_killed_worker_loses_its_call_alone() -> None:
    calls = [(math.sqrt, 4), (os._exit, 3), (math.sqrt, -1), (os.getenv, "TINYGRAD_LAB_NUM_THREADS")]
    found = dict(workers.call_each(operator.call, calls, workers=1))
    assert found[calls[0]] == 2
    assert isinstance(found[calls[1]], DistributedError)
    assert "which was killed" in str(found[calls[1]])
    assert isinstance(found[calls[2]], ValueError)
    assert int(found[calls[3]]) >= 1


@pytest.mark.slow
def test_a_trial_in_a_worker_gives_the_result_of_one_here(tmp_path: Path) -> None:
    trials = sweep.sweep(RECIPE, ["optimizer.lr=0.02"], seeds=1, ranks=1, folder=tmp_path / "sweep")
    expected = tuning.tune(RECIPE, ["optimizer.lr=0.02"], Reporter(), seeds=1, folder=tmp_path / "tune")
    for trial, alone in zip(trials, expected, strict=True):
        assert {**trial, "seconds": 0} == {**alone, "seconds": 0}
