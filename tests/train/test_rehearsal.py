"""The dry run, which writes nothing, and the learning-rate range test."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_lab.cli import main
from tinygrad_lab.data import Dataset, Loader
from tinygrad_lab.errors import OptionError
from tinygrad_lab.losses import mse, softmax_cross_entropy
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.optim import SGD
from tinygrad_lab.train import Trainer, find_recipe
from tinygrad_lab.train.build import build_trainer
from tinygrad_lab.train.dry_run import dry_run
from tinygrad_lab.train.overfit import overfit_batch
from tinygrad_lab.train.range_test import RangeTest, range_test
from tinygrad_lab_layers import Dense, Flatten

SMALL = ["--set", "data.per_class=2", "--set", "data.batch_size=4", "--set", "augment=[]"]


def small(**options: Any) -> Trainer:
    """Return a trainer of a dense layer for noise of two brightnesses."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    images = (rng.random((40, 2, 2, 1)) * 0.4 + 0.5 * labels[:, None, None, None]).astype("float32")
    model = Sequential(Flatten(), Dense(4, 2, rng=0))
    optimizer = SGD(model.parameters(), lr=0.1)
    return Trainer(model, softmax_cross_entropy, optimizer, Loader(Dataset(images, labels), batch_size=8), **options)


def test_a_dry_run_shows_network_data_time_and_memory_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--dry-run", *SMALL]) == 0
    told = capsys.readouterr().out
    for part in (
        "Total parameters: 61,706",
        "digits: 20 training + 145 validation + 359 test images",
        "a run: 30 epochs of",
        "; memory of the host ",
    ):
        assert part in told
    assert main(["train", "--dry-run", "--json", *SMALL]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["epochs"] == 30
    assert found["seconds"] == pytest.approx(found["start_up"] + 30 * found["epoch"])
    assert found["host_memory"] > 2**24
    assert 1 < found["loss"] < 10
    assert not list(tmp_path.iterdir())


def test_a_network_that_cannot_learn_a_batch_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = small()
    found = overfit_batch(trainer, steps=200)
    assert found.learned
    assert (found.examples, trainer.epoch) == (8, 0)
    assert found.rate == 0.1
    trainer = small()
    trainer.optimizer.lr = 10.0
    trainer.loss = lambda logits, labels: softmax_cross_entropy(logits, labels) * (
        math.nan if trainer.optimizer.lr > 1 and np.abs(trainer.model.state()["1.weight"]).max() > 2 else 1
    )
    again = overfit_batch(trainer)  # from the initial weights, with a tenth of the rate
    assert (again.learned, again.rate, again.losses[0]) == (True, 1.0, found.losses[0])
    constant = small()
    constant.loss = lambda logits, labels: softmax_cross_entropy(logits * 0, labels)
    still = overfit_batch(constant, steps=3)
    assert (still.learned, len(still.losses), still.rate) == (False, 3, pytest.approx(0.001))
    with pytest.raises(OptionError, match="overfit_batch: expected at least 2 steps, got 1"):
        overfit_batch(small(), steps=1)
    monkeypatch.chdir(tmp_path)
    for made, word in ((small(), "can learn this batch by heart"), (constant, "warning: the network cannot learn")):
        monkeypatch.setattr("tinygrad_lab.train.build.build_trainer", lambda *given, made=made, **options: made)
        assert main(["train", "--overfit-batch", *SMALL]) == 0
        told = capsys.readouterr().out
        assert told.startswith("one batch of 8, ")
        assert word in told
    assert main(["train", "--overfit-batch", "--json", *SMALL]) == 0
    assert json.loads(capsys.readouterr().out)["learned"] is False
    assert not list(tmp_path.iterdir())


def test_a_dry_run_finds_errors_of_a_step() -> None:
    trainer = build_trainer(find_recipe("lenet5").override(["data.per_class=2"]))
    trainer.loss = mse  # a loss of numbers, not of classes
    with pytest.raises(ValueError, match="mse"):
        dry_run(trainer, 1)


def test_a_dry_run_takes_four_steps_at_most() -> None:
    trainer = small()
    dry_run(trainer, 3)
    assert trainer.model.steps == 4


def test_rates_rise_by_a_constant_factor_and_end_when_the_loss_explodes() -> None:
    trainer = small(accumulate=2)
    found = range_test(trainer, low=1e-4, high=1e4, steps=30)
    np.testing.assert_allclose(np.diff(np.log(found.rates)), math.log(1e8) / 29)
    assert len(found.rates) == len(found.losses) < 30
    assert found.means[-1] > 4 * min(found.means)
    assert found.suggestion == found.rates[found.means.index(min(found.means))] / 10


def test_the_mean_of_equal_losses_is_their_value() -> None:
    assert RangeTest([0.1] * 5, [2.0] * 5).means == pytest.approx([2.0] * 5)


def test_no_rate_is_suggested_if_none_lowers_the_loss() -> None:
    assert RangeTest([0.1, 1.0], [2.0, 3.0]).suggestion is None
    assert RangeTest().suggestion is None
    found = range_test(small(), low=1e-9, high=1e-8, steps=5)
    assert len(found.rates) == 5
    assert found.suggestion is None


def test_a_loss_that_is_not_finite_ends_the_test() -> None:
    trainer = small()
    calls = iter([1.0, 1.0, math.nan])
    loss = trainer.loss
    trainer.loss = lambda logits, labels: loss(logits, labels) * next(calls, math.nan)
    assert len(range_test(trainer, steps=9).losses) == 2


def test_a_loss_that_is_not_finite_before_any_update_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = small()
    trainer.loss = lambda logits, labels: logits.sum() * math.nan
    monkeypatch.setattr("tinygrad_lab.train.build.build_trainer", lambda *given, **options: trainer)
    for more in ([], ["--json"]):
        assert main(["train", "--find-lr", "--runs", str(tmp_path), *more, *SMALL]) == 1
        said = capsys.readouterr().err
        assert said.startswith("tinygrad-lab train: range_test: expected a finite loss at the lowest rate, 1e-05, ")
        assert said.endswith("; look at the data, the initial weights and the loss\n")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("wrong", [{"low": 0.0}, {"low": 1.0, "high": 0.1}, {"steps": 1}])
def test_wrong_ranges_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="expected 0 < low < high and at least 2 steps"):
        range_test(small(), **wrong)


@pytest.mark.slow
def test_the_command_draws_and_suggests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--find-lr", "--runs", str(tmp_path), *SMALL]) == 0
    assert "suggestion: --set optimizer.lr=" in capsys.readouterr().out
    (path,) = tmp_path.iterdir()
    assert path.name == "lenet5-learning-rates.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    for more in (["--seeds", "2"], ["--dry-run"], ["--until-decided", "lenet5"]):
        assert main(["train", "--find-lr", *more]) == 1
        assert "expected one of them, one recipe and one seed, got more" in capsys.readouterr().err
