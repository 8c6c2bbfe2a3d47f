"""When a run evaluates on the test images, and that it does not read them before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tinygrad_lab.data import Loader, load
from tinygrad_lab.data.sources.digits import Digits
from tinygrad_lab.errors import ConfigError
from tinygrad_lab.train import evaluate, find_recipe, run_recipe
from tinygrad_lab.train.build import build_trainer
from tinygrad_lab.train.checkpoint import CheckpointFolder
from tinygrad_lab.train.progress import Reporter
from tinygrad_lab.train.recipe import Recipe


def short(*settings: str) -> Recipe:
    return find_recipe("lenet5").override(["data.per_class=20", "training.epochs=3", *settings])


class Diary(Reporter):
    """A reporter that notes the order of epochs and of reading splits."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    def epoch(self, history: Any) -> None:
        self.entries.append(f"epoch {len(history)}")


@pytest.fixture
def diary(monkeypatch: pytest.MonkeyPatch) -> Diary:
    diary, read = Diary(), Digits.read

    def noted(self: Digits, split: str, **options: Any) -> Any:
        diary.entries.append(f"read {split}")
        return read(self, split, **options)

    monkeypatch.setattr(Digits, "read", noted)
    return diary


@pytest.fixture
def no_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test split that raises when it is read."""
    read = Digits.read

    def refusing(self: Digits, split: str, **options: Any) -> Any:
        assert split != "test", "the test split was read"
        return read(self, split, **options)

    monkeypatch.setattr(Digits, "read", refusing)


@pytest.mark.usefixtures("no_test_images")
def test_with_never_the_test_split_is_not_read(tmp_path: Path) -> None:
    result = run_recipe(short("training.test='never'"), Reporter(), runs=tmp_path)
    assert result["test_looks"] == 0
    assert "test" not in result
    assert result["validation"]["images"] == len(load("digits", split="validation", validation=0.1))


@pytest.mark.usefixtures("no_test_images")
@pytest.mark.parametrize(("when", "epochs"), [("epoch", 0), ("end", 3)])
def test_with_epoch_or_end_the_test_split_is_read(tmp_path: Path, when: str, epochs: int) -> None:
    with pytest.raises(AssertionError, match="was read"):
        run_recipe(short(f"training.test='{when}'"), Reporter(), runs=tmp_path)
    lines = [line for path in tmp_path.glob("*/metrics.jsonl") for line in path.read_text().splitlines()]
    assert len(lines) == epochs, "with 'end', all epochs are finished and saved before the test split is read"


def test_by_default_the_test_images_are_read_after_the_last_epoch(tmp_path: Path, diary: Diary) -> None:
    run_recipe(short(), diary, runs=tmp_path)
    assert diary.entries == ["read train", "read train", "epoch 1", "epoch 2", "epoch 3", "read test"]


def test_the_weights_chosen_on_validation_are_evaluated_once(tmp_path: Path) -> None:
    for seed in range(4):
        result = run_recipe(short(f"training.seed={seed}"), Reporter(), runs=tmp_path)
        figures, folder = result["figures"], Path(result["run"])
        assert figures.keys() == {"last", "chosen_on_validation"}
        chosen = figures["chosen_on_validation"]
        assert result["test_looks"] == 1 + (chosen["epoch"] != 3)
        assert json.loads((folder / "result.json").read_text()) == result
        trainer = build_trainer(short(f"training.seed={seed}"))
        test = Loader(load("digits", split="test"), batch_size=256, shuffle=False)
        states = {"last": "latest", "chosen_on_validation": "best"}
        for name, which in states.items():
            state = getattr(CheckpointFolder(folder / "checkpoints"), which)()
            assert state["epoch"] == figures[name]["epoch"]
            trainer.model.load_state(state["model"])
            assert evaluate(trainer.model, trainer.loss, test).accuracy == figures[name]["accuracy"]


def test_evaluations_on_test_images_are_counted(tmp_path: Path) -> None:
    result = run_recipe(short("training.test='epoch'"), Reporter(), runs=tmp_path)
    assert result["test_looks"] == 3
    assert result["figures"].keys() == {"best_on_test", "last", "chosen_on_validation"}


def test_the_time_of_evaluation_does_not_change_the_weights(tmp_path: Path) -> None:
    results = [run_recipe(short(f"training.test='{when}'"), Reporter(), runs=tmp_path) for when in ("epoch", "end")]
    assert results[0]["test"] == results[1]["test"]
    for name in ("last", "chosen_on_validation"):
        assert results[0]["figures"][name] == results[1]["figures"][name]


def test_a_run_that_is_resumed_at_its_end_counts_another_look(tmp_path: Path) -> None:
    first = run_recipe(short("data.validation=0.0"), Reporter(), runs=tmp_path)
    again = run_recipe(short("data.validation=0.0"), Reporter(), resume=Path(first["run"]))
    assert (first["test_looks"], again["test_looks"]) == (1, 2)
    assert first["figures"] == again["figures"]


def test_a_run_needs_validation_or_test_images() -> None:
    with pytest.raises(ConfigError, match=r"got training\.test = 'never' and no data\.validation"):
        build_trainer(short("training.test='never'", "data.validation=0.0"))
    with pytest.raises(ConfigError, match=r"training\.test: .* got 'often'; there are end, epoch, never"):
        short("training.test='often'")
