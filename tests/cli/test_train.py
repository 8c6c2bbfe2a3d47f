"""`tinygrad-lab train`, as a user runs it."""

from __future__ import annotations

import itertools
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tinygrad_lab.cli import commands, main
from tinygrad_lab.train.checkpoint import CheckpointFolder
from tinygrad_lab.train.progress import Reporter
from tinygrad_lab.weights import load_weights
from tinygrad_lab.zoo.lenet5 import lenet5

SHORT = ["--set", "training.epochs=2"]


def test_json_prints_one_object_and_the_folder_holds_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--json", "--runs", str(tmp_path), *SHORT]) == 0
    lines = capsys.readouterr().out.splitlines()
    result = json.loads(lines[-1])
    assert len(lines) == 1
    assert result.keys() >= {"recipe", "run", "epochs", "seconds", "images_per_second", "test"}
    assert result["recipe"] == "lenet5"
    assert result["epochs"] == 2
    folder = Path(result["run"])
    assert sorted(p.name for p in folder.iterdir()) == [
        "checkpoints", "curves.png", "manifest.json", "metrics.jsonl", "recipe.json", "result.json",
        "weights-best.safetensors", "weights.safetensors",
    ]  # fmt: skip
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [m["epoch"] for m in metrics] == [1, 2]
    assert all(m.keys() >= {"validation"} and "test" not in m for m in metrics)
    assert 0 < result["test"]["accuracy"] < 1
    assert json.loads((folder / "recipe.json").read_text())["training"]["epochs"] == 2
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    model = lenet5(rng=1)
    load_weights(model, folder / "weights.safetensors")
    saved = load_file(folder / "weights.safetensors")
    assert all(np.array_equal(array, saved[path]) for path, array in model.state().items())


def test_plain_lines_where_there_is_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--runs", str(tmp_path), *SHORT]) == 0
    out = capsys.readouterr().out
    assert "epoch 1/2" in out
    assert "test accuracy" in out
    assert "\x1b" not in out


def test_several_seeds_make_several_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "--quiet", "--seeds", "2", "--runs", str(tmp_path), "--set", "training.epochs=1"]
    assert main(arguments) == 0
    assert "over 2 seeds" in capsys.readouterr().out
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "lenet"], "did you mean 'lenet5'"),
        (
            ["train", "--set", "optimizer.momentun=1"],
            "option of 'sgd': expected a known name, got 'momentun'; did you mean 'momentum'?",
        ),
        (["train", "--set", "model.name=lenet6"], "did you mean 'lenet5'"),
        (["train", "--seeds", "0"], "at least 1"),
        (["train", "--set", "training.seed=-1", "--seeds", "2"], "training.seed: expected 0 or more, got -1"),
        (["train", "--set", "data.seed=-1"], "data.seed: expected 0 or more, got -1"),
        (["train", "--set", "training.epochs=0"], "training.epochs: expected 1 or more, got 0"),
        (["train", "--set", "data.batch_size=0"], "data.batch_size: expected 1 or more, got 0"),
        (["train", "lenet5:nosuch"], "recipe 'lenet5': expected the variant 'nosuch', got a recipe without variants"),
        (
            ["train", "--set", 'model={name="sequential", layers=[]}'],
            "model.layers: expected at least one layer, got an empty list",
        ),
        (["train", "--resume", "nowhere"], "expected the folder of a run"),
        (["train", "--resume", "nowhere", "--set", "training.epochs=9"], "a run keeps its"),
        (["train", "--set", "schedule.rize=0.1"], "option of 'one_cycle': expected a known name, got 'rize'; did you"),
        (["train", "--set", "loss.foo=1"], "option of 'softmax_cross_entropy': expected a known name, got 'foo'"),
    ],
)
def test_wrong_calls_are_explained(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--runs", str(tmp_path)]) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir()), "a run that could not begin leaves no folder"


def test_pictures_without_a_test_split_are_evaluated_on_validation_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = pytest.importorskip("PIL.Image")
    for kind, shade in (("dark", 20), ("light", 230)):
        (tmp_path / "flat" / kind).mkdir(parents=True)
        for number in range(10):
            image.new("RGB", (32, 32), (shade + number,) * 3).save(tmp_path / "flat" / kind / f"{number}.png")
    recipe = tmp_path / "pics.toml"
    recipe.write_text(
        '[model]\nname = "sequential"\nlayers = [{name = "flatten"}, '
        '{name = "dense", in_features = 3072, out_features = 2}]\n'
        '[data]\nname = "image_folder"\nbatch_size = 4\n[loss]\nname = "softmax_cross_entropy"\n'
        '[optimizer]\nname = "sgd"\nlr = 0.001\n[training]\nepochs = 1\n'
    )
    command = ["train", str(recipe), "--data", str(tmp_path / "flat"), "--runs", str(tmp_path / "runs")]
    assert main(command) == 1
    assert "--set data.validation=0.1" in capsys.readouterr().err
    assert main([*command, "--set", "data.validation=0.2", "--seeds", "2"]) == 0
    told = capsys.readouterr().out
    assert "validation accuracy " in told
    assert "validation accuracy over 2 seeds, last epoch" in told
    assert told.count("no test image was read") == 2
    assert "held" not in told
    assert "\n1 epoch in" in told
    result = json.loads(next(tmp_path.glob("runs/*/result.json")).read_text())
    assert result["figures"].keys() == {"last"}
    assert result["validation"]["accuracy"] == result["figures"]["last"]["accuracy"]


def test_an_interrupted_run_resumes_bit_for_bit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["train", "--json", "--runs", str(tmp_path / "whole"), *SHORT]) == 0
    whole = json.loads(capsys.readouterr().out)
    steps = itertools.count(1)

    def press_ctrl_c(reporter: Reporter, metrics: dict[str, Any]) -> None:
        if next(steps) == 30:  # in the middle of the second epoch
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Reporter, "step", press_ctrl_c)
        assert main(["train", "--json", "--runs", str(tmp_path / "parts"), *SHORT]) == 130
    (folder,) = (tmp_path / "parts").iterdir()
    assert not (folder / "weights.safetensors").exists()
    capsys.readouterr()
    assert main(["train", "--json", "--resume", str(folder)]) == 0
    parts = json.loads(capsys.readouterr().out)
    assert parts["test"] == whole["test"]
    one, other = (load_file(Path(r["run"]) / "weights.safetensors") for r in (whole, parts))
    assert all(np.array_equal(one[path], other[path]) for path in one)
    lines = [(Path(run["run"]) / "metrics.jsonl").read_text().splitlines() for run in (whole, parts)]
    losses = [[json.loads(line)["loss"] for line in of_run] for of_run in lines]
    assert losses[0] == losses[1]


def test_a_loss_that_is_not_finite_keeps_the_last_finite_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--quiet", "--runs", str(tmp_path), "--set", "optimizer.lr=1e9"]) == 1
    message = capsys.readouterr().err
    assert "expected a finite number" in message
    assert "in layer 'output'" in message
    (folder,) = tmp_path.iterdir()
    saved = CheckpointFolder(folder / "checkpoints").latest()
    assert saved is not None
    assert str(folder / "checkpoints") in message
    assert all(np.isfinite(value).all() for value in saved["model"].values())


def test_ctrl_c_is_status_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("tinygrad_lab.cli.recipes.run", interrupted)
    assert main(["recipes"]) == 130
    assert "stopped" in capsys.readouterr().err


def test_every_command_has_a_help_text() -> None:
    assert all(commands().values())
    assert {"train", "layers", "recipes"} <= commands().keys()


def test_layers_are_listed_with_their_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["conv2d"] == {
        "name": "conv2d",
        "class": "tinygrad_lab_layers.conv2d:Conv2d",
        "distribution": "tinygrad-lab",
        "version": rows["dense"]["version"],
        "status": "ok",
    }
