"""A run and its folder: what is chosen, what ends it, and how it goes on."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_lab.cli import main
from tinygrad_lab.errors import ConfigError, NonFiniteError
from tinygrad_lab.train import Trainer, find_recipe, run_recipe
from tinygrad_lab.train import run as module
from tinygrad_lab.train.checkpoint import CheckpointFolder
from tinygrad_lab.train.progress import Reporter
from tinygrad_lab.train.recipe import Recipe
from tinygrad_lab.train.run import prepare, read_run


def short(*settings: str) -> Recipe:
    return find_recipe("lenet5").override(["data.per_class=20", "training.epochs=2", *settings])


def test_no_checkpoint_is_chosen_on_the_test_set(tmp_path: Path) -> None:
    for share in (0.1, 0.0):
        run_recipe(short(f"data.held_out={share}", "training.epochs=1"), Reporter(), runs=tmp_path / str(share))
        (folder,) = (tmp_path / str(share)).iterdir()
        assert (folder / "checkpoints" / "best.safetensors").exists() == bool(share)


def test_a_schedule_by_a_metric_needs_a_part_to_judge_by() -> None:
    recipe = find_recipe("lenet5")
    tables = {**recipe.tables, "schedule": {"name": "plateau", "patience": 1}}
    assert prepare(Recipe("mine", tables)).validation is not None
    with pytest.raises(ConfigError, match=r"expected data.held_out, the part by which schedule"):
        prepare(Recipe("mine", {**tables, "data": {**recipe["data"], "held_out": 0.0}}))


def test_a_run_that_ended_early_tells_its_last_epoch_and_is_not_trained_on(tmp_path: Path) -> None:
    told: list[int] = []

    class Tells(Reporter):
        def epoch(self, history: Any) -> None:
            told.append(len(history))

    recipe = short("training.epochs=9", "training.patience=2", "optimizer.lr=0.0")
    result = run_recipe(recipe, Tells(), runs=tmp_path)
    (folder,) = tmp_path.iterdir()
    assert told == [1, 2, 3]
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 3
    again = run_recipe(read_run(folder), Tells(), resume=folder)
    assert told == [1, 2, 3]
    assert again["ended_early"] == result["ended_early"]
    assert again["epochs"] == 3


def test_ctrl_c_in_the_last_evaluation_ends_all_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = Trainer._evaluate

    def interrupted(self: Trainer) -> Any:
        signal.raise_signal(signal.SIGINT)
        return evaluate(self)

    arguments = ["train", "--quiet", "--set", "data.per_class=20", "--set", "training.epochs=1"]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_evaluate", interrupted)
        assert main([*arguments, "--seeds", "3", "--runs", str(tmp_path)]) == 130
    (folder,) = tmp_path.iterdir()
    assert not (folder / "result.json").exists()
    saved = CheckpointFolder(folder / "checkpoints").latest()
    assert saved is not None
    assert saved["epoch"] == 1
    assert main(["train", "--quiet", "--resume", str(folder)]) == 0
    assert json.loads((folder / "result.json").read_text())["epochs"] == 1


def test_ctrl_c_after_the_last_callback_is_not_forgotten(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "train", lambda self, epochs: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            run_recipe(short(), Reporter(), runs=tmp_path)


def test_a_run_goes_on_with_the_batch_whose_loss_was_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, steps = short("training.accumulate=2", "data.batch_size=32"), itertools.count(1)
    forward = Trainer._forward

    def spoiled(self: Trainer, x: Any, labels: Any) -> Any:
        loss, logits = forward(self, x, labels)
        return (loss * np.float32("nan") if next(steps) == 4 else loss), logits

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_forward", spoiled)
        with pytest.raises(NonFiniteError):
            run_recipe(recipe, Reporter(), runs=tmp_path / "parts")
    (folder,) = (tmp_path / "parts").iterdir()
    saved = CheckpointFolder(folder / "checkpoints").latest()
    assert saved is not None
    assert (saved["loader"]["batch"], saved["steps"]) == (2, 1)
    parts = run_recipe(read_run(folder), Reporter(), resume=folder)
    whole = run_recipe(recipe, Reporter(), runs=tmp_path / "whole")
    assert parts["held_out"] == whole["held_out"]
    assert parts["training_accuracy"] == whole["training_accuracy"]


@pytest.mark.parametrize("name", ["recipe.json", "metrics.jsonl", "weights.safetensors", "curves.png", "result.json"])
def test_a_disk_that_fills_up_is_told_and_the_run_goes_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def on_a_full_disk(write: Any, place: int) -> Any:
        def written(*args: Any) -> None:
            if args[place].name == name:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write(*args)

        return written

    with monkeypatch.context() as patch:
        for function, place in (("write_atomically", 0), ("save_weights", 1), ("draw_curves", 1)):
            patch.setattr(module, function, on_a_full_disk(getattr(module, function), place))
        arguments = ["train", "--quiet", "--set", "data.per_class=20", "--set", "training.epochs=1"]
        assert main([*arguments, "--runs", str(tmp_path)]) == 1
    (folder,) = tmp_path.iterdir()
    told = capsys.readouterr().err
    assert f"run {folder}: expected to write into it, got No space left on device; the disk is full" in told
    assert (f"--resume {folder}" in told) == (name != "recipe.json")
    if name != "recipe.json":
        assert main(["train", "--quiet", "--resume", str(folder)]) == 0
        assert json.loads((folder / "result.json").read_text())["epochs"] == 1


@pytest.mark.parametrize(("key", "measure"), [("clip_norm", np.linalg.norm), ("clip_value", lambda g: abs(g).max())])
def test_a_recipe_sets_bounds_of_the_gradients(key: str, measure: Any) -> None:
    trainer = prepare(short(f"training.{key}=0.05", "optimizer.lr=0.0"))
    clip, before, after = trainer.clip, [], []
    assert clip is not None

    def clip_and_look(parameters: Any) -> None:
        for seen in (before, after):
            seen.append(measure(np.concatenate([p.grad.numpy().ravel() for p in parameters.values()])))
            clip(parameters)

    trainer.clip = clip_and_look
    trainer.train_epoch()
    assert min(before) > 0.05
    assert after == pytest.approx([0.05] * len(after))
    assert prepare(short()).clip is None
    with pytest.raises(ConfigError, match=f"{key}: expected a bound above 0, got 0"):
        prepare(short(f"training.{key}=0"))
