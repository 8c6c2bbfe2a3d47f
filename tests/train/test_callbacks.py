"""Callbacks: TensorBoard's files, read by TensorBoard, early stopping and gradient norms."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tinygrad_lab.cli import main
from tinygrad_lab.errors import ConfigError, OptionError
from tinygrad_lab.registry import models
from tinygrad_lab.train import EarlyStopping, TensorBoard
from tinygrad_lab.train.results import gather, read_runs

SHORT = ["--quiet", "--set", "data.per_class=20"]


def test_tensorboard_reads_the_curves_of_a_run(tmp_path: Path) -> None:
    reading = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="pip install 'tinygrad-lab[tensorboard]' to check the files with TensorBoard",
        exc_type=ImportError,
    )
    settings = ["--set", "training.epochs=3", "--set", 'training.test="epoch"']
    assert main(["train", "--tensorboard", "--runs", str(tmp_path), *settings, *SHORT]) == 0
    (folder,) = tmp_path.iterdir()
    events = reading.EventAccumulator(str(folder)).Reload()
    tags = {"loss/training", "accuracy/training", "accuracy/test", "accuracy/validation", "learning_rate"}
    assert tags <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss/test")] == [1, 2, 3]


def test_without_tensorboard_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.event_file_writer", None)
    with pytest.raises(ConfigError, match=r"tinygrad-lab\[tensorboard\]"):
        TensorBoard(tmp_path)


def test_patience_is_at_least_one_epoch() -> None:
    with pytest.raises(OptionError, match="at least one epoch, got 0"):
        EarlyStopping(0)


def test_patience_in_a_recipe_needs_validation_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    patient = ["train", *SHORT, "--runs", str(tmp_path), "--set", "training.patience=2"]
    assert main([*patient, "--set", "data.validation=0.0"]) == 1
    assert "expected data.validation" in capsys.readouterr().err
    assert main([*patient, "--set", "training.epochs=30", "--set", "optimizer.lr=0.0"]) == 0
    assert "ended early" in capsys.readouterr().out


def test_metrics_hold_gradient_norms_from_before_clipping(tmp_path: Path) -> None:
    options = [
        "--set",
        "training.gradient_norms=true",
        "--set",
        "training.clip_norm=0.01",
        "--set",
        "training.epochs=2",
    ]
    assert main(["train", *SHORT, *options, "--runs", str(tmp_path)]) == 0
    (folder,) = tmp_path.iterdir()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        assert set(line["gradient_norms"]) == set(models["lenet5"](rng=0).parameters())
        assert sum(norm**2 for norm in line["gradient_norms"].values()) > 0.01**2
    assert lines[0]["gradient_norms"] != lines[1]["gradient_norms"]
    (result,) = gather(read_runs(tmp_path))
    assert result["gradient_norms"] == [line["gradient_norms"] for line in lines]
