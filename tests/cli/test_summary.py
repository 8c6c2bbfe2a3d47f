"""`tinygrad-lab summary`, as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tinygrad_lab.cli import main


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
def test_mistakes_are_named(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_reader_that_stops_early_is_no_error() -> None:
    code = "import sys; from tinygrad_lab.cli import main; sys.exit(main(['summary', 'googlenet', '--json']))"
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
