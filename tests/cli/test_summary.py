"""`tinygrad-lab summary`, as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinygrad_lab.cli import main
from tinygrad_lab.train.folder import recipe_text
from tinygrad_lab.train.recipe import find_recipe


def test_json_has_the_documented_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "vgg16", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert list(summary) == [
        "model", "total_parameters", "trainable_parameters", "non_trainable_parameters", "multiply_adds", "depth",
        "layers",
    ]  # fmt: skip
    assert summary["model"] == "vgg16"
    assert (summary["total_parameters"], summary["multiply_adds"]) == (138_357_544, 15_470_264_320)
    assert summary["layers"][1] == {
        "name": "conv1_1",
        "kind": "conv2d",
        "output_shape": [224, 224, 64],
        "parameters": 1_792,
        "multiply_adds": 86_704_128,
    }


def test_the_table_shows_shapes_parameters_and_totals(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "ten_layer"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "ten_layer"
    assert any(line.split() == ["conv1_3x3", "(conv2d)", "30,", "30,", "64", "36,928", "33,177,600"] for line in lines)
    assert lines[-6:] == [
        "Total parameters: 2,974,986",
        "Trainable parameters: 2,972,298",
        "Non-trainable parameters: 2,688",
        "Multiply-adds: 159,885,824 per image",
        "Activations: 2.9 MiB per image, in float32",
        "Depth: 10 convolutions and dense layers",
    ]


def test_a_run_has_the_network_of_its_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.json").write_bytes(recipe_text(find_recipe("lenet5")))
    tables = []
    for given in (str(tmp_path), "lenet5"):
        assert main(["summary", given]) == 0
        tables.append(capsys.readouterr().out.splitlines()[1:])
    assert tables[0] == tables[1]


RECIPE = """
[model]
name = "sequential"
layers = [{name = "flatten"}, {name = "dense", in_features = 900, out_features = 3}]
[data]
name = "digits"
[[augment]]
name = "random_crop"
size = [30, 30]
[loss]
name = "softmax_cross_entropy"
[optimizer]
name = "sgd"
lr = 0.1
[training]
epochs = 1
[variants.wide]
"model.layers" = [{name = "flatten"}, {name = "dense", in_features = 900, out_features = 5}]
"""


def test_the_network_of_a_recipe_is_shown_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(RECIPE.replace("random_crop", "center_crop"))
    assert main(["summary", "mine.toml:wide", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [row["output_shape"] for row in summary["layers"]] == [[30, 30, 1], [900], [5]]
    assert main(["summary", "lenet5_padded", "--json", "--set", "model.classes=3"]) == 0
    assert json.loads(capsys.readouterr().out)["layers"][-1]["output_shape"] == [3]
    assert main(["draw", "mine.toml:wide"]) == 0
    assert "mine.toml:wide: 30×30×1 → 5" in Path("mine-wide.svg").read_text(encoding="utf-8")
    assert main(["summary", "mine.toml:nosuch"]) == 1
    assert "did you mean" in (told := capsys.readouterr().err) or "there are wide" in told


def test_a_recipe_of_pictures_needs_their_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pictures.toml"
    before, after = RECIPE.replace("digits", "image_folder").split('[[augment]]\nname = "random_crop"\nsize = [30, 30]')
    path.write_text(before + after)
    assert main(["summary", str(path)]) == 1
    assert "expected data.size, since only the files of 'image_folder' show" in capsys.readouterr().err
    wide = '{name="dense", in_features=300, out_features=5}'
    layers = f'model.layers=[{{name="flatten"}}, {wide}]'
    assert main(["summary", str(path), "--json", "--set", "data.size=[10,10]", "--set", layers]) == 0
    assert json.loads(capsys.readouterr().out)["layers"][0]["output_shape"] == [10, 10, 3]


def test_small_networks_are_measured_in_smaller_units(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "lenet5"]) == 0
    assert "Activations: 37.2 KiB per image, in float32" in capsys.readouterr().out


def test_options_of_the_network_can_be_set(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--set", "image=[28, 28, 1]", "--set", "padding=zero", "--set", "classes=7"]
    assert main(["summary", "lenet5", "--json", *options]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["layers"][0]["output_shape"] == [28, 28, 1]
    assert summary["layers"][-1]["output_shape"] == [7]


def test_a_network_that_cannot_be_built_names_the_layer_and_the_map(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "alexnet_small", "--set", "padding=none"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "'conv5'" in shown.err
    assert "got 1x1" in shown.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vgg61"], "did you mean"),
        (["vgg16", "--set", "classes"], "expected option=value"),
        (["vgg16", "--set", "colors=3"], "expected a known name, got 'colors'"),
    ],
)
def test_errors_name_the_mistake(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_closed_pipe_is_not_an_error() -> None:
    code = "import sys; from tinygrad_lab.cli import main; sys.exit(main(['summary', 'googlenet', '--json']))"
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
