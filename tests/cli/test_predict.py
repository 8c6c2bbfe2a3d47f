"""`tinygrad-lab predict` and `evaluate`: their output, and one line for each error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinygrad_lab as tgl
from tests.inspect.test_run import TABLES, trained
from tinygrad_lab.cli import evaluate, main
from tinygrad_lab.data import load

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures in a folder and its subfolder."""
    top = tmp_path_factory.mktemp("pictures")
    (top / "more").mkdir()
    for number, image in enumerate(load("digits", split="test", size=(8, 8)).images[:6, :, :, 0]):
        Image.fromarray(image).save(top / ("more" if number > 3 else ".") / f"{number}.png")
    (top / "notes.txt").write_text("no picture")
    return top


def test_predict_prints_the_predictions_of_the_python_function(
    folder: Path, pictures: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinygrad_lab.cli.predict.AT_ONCE", 4)
    paths = [*sorted(pictures.glob("*.png")), *sorted(pictures.glob("more/*.png"))]
    expected = tgl.load_run(folder).predict(paths)
    one = str(paths[0])
    assert main(["predict", str(folder), str(pictures), one, "--top", "5", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["picture"] for row in rows] == [*map(str, paths), one]
    for row, top in zip(rows, expected.top(5), strict=False):
        assert [entry["name"] for entry in row["classes"]] == [name for name, _ in top]
        np.testing.assert_allclose([entry["probability"] for entry in row["classes"]], [p for _, p in top], rtol=1e-4)
    assert main(["predict", str(folder), one]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["Picture", "Class", "2.", "3."]
    name, probability = expected.top(1)[0][0]
    assert f" {name} {100 * probability:.1f} % " in f" {' '.join(line.split())} "


def test_predict_names_bad_pictures_and_goes_on(
    folder: Path, pictures: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinygrad_lab.cli.predict.AT_ONCE", 2)
    good = [str(path) for path in sorted(pictures.glob("*.png"))[:3]]
    bad = [str(pictures / "notes.txt"), str(pictures / "none.png")]
    assert main(["predict", str(folder), good[0], bad[0], good[1], good[2], bad[1], "--json"]) == 1
    told = capsys.readouterr()
    assert [row["picture"] for row in json.loads(told.out)] == good
    lines = told.err.splitlines()
    for line, path in zip(lines, bad, strict=False):
        assert line.startswith(f"tinygrad-lab predict: {path}: cannot be read as a picture: ")
    assert lines[2:] == ["tinygrad-lab predict: 2 of 5 pictures could not be read"]


def test_evaluate_prints_accuracy_calibration_and_confusion(folder: Path, capsys: Capture) -> None:
    report = tgl.load_run(folder).evaluate()
    assert main(["evaluate", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"run": str(folder), "weights": "best", **report.as_json()}
    assert main(["evaluate", str(folder)]) == 0
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[:2] == ["digits test, 359 images, best weights", f"accuracy: {report.accuracy:.2%}"]
    assert f"calibration error: {report.calibration_error():.3f} " in out
    assert f"3 {' '.join(map(str, report.confusion[3]))}" in lines
    assert max(map(len, out.splitlines())) <= 80
    assert main(["evaluate", str(folder), "--split", "validation", "--weights", "last"]) == 0
    assert capsys.readouterr().out.startswith("digits validation, ")
    assert main(["evaluate", str(folder), "--dataset", "digits", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == "digits test"


def test_large_confusion_matrices_are_shown_as_pairs(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "_MATRIX", 5)
    assert main(["evaluate", str(folder)]) == 0
    true, predicted, images = tgl.load_run(folder).evaluate().confused(1)[0]
    assert f"Confused most often:\n  {true} taken for {predicted}: {images}\n" in capsys.readouterr().out


def test_long_class_names_are_numbered(tmp_path: Path, capsys: Capture) -> None:
    folder = trained(tmp_path, training={"epochs": 1})
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["classes"][3] = "thr[ee]"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert main(["evaluate", str(folder)]) == 0
    out = capsys.readouterr().out
    assert " 3 thr[ee] " in out


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["predict", "NONE", "a.png"], "run NONE: expected the folder of a run, got no such folder"),
        (["evaluate", "NONE"], "run NONE: expected the folder of a run, got no such folder"),
        (["predict", "RUN", "PICTURES/notes.txt"], "PICTURES/notes.txt: cannot be read as a picture: cannot identify"),
        (["predict", "RUN", "none.png"], "none.png: cannot be read as a picture: [Errno 2] No such file"),
        (["predict", "RUN", "EMPTY"], "EMPTY: expected pictures such as *.png or *.jpg in this folder, found none"),
        (["predict", "RUN", "a.png", "--top", "0"], "--top: expected 1 or more, got 0"),
        (
            ["evaluate", "RUN", "--split", "val"],
            "run RUN: expected a split out of ['train', 'validation', 'test'], got 'val'",
        ),
        (
            ["evaluate", "RUN", "--dataset", "digit"],
            "expected the name of a plugin, got 'digit'; did you mean 'digits'?",
        ),
        (["evaluate", "UNFINISHED"], "finish it with tinygrad-lab train --resume UNFINISHED"),
        (["evaluate", "DAMAGED"], "weights-best.safetensors: expected a whole safetensors file, got: "),
        (
            ["evaluate", "OTHERS"],
            "run OTHERS: Sequential: expected 1.weight of shape (64, 11), got (64, 10); train it again",
        ),
    ],
)
def test_each_error_is_one_line(
    call: list[str], message: str, folder: Path, pictures: Path, tmp_path: Path, capsys: Capture
) -> None:
    places = {"RUN": folder, "PICTURES": pictures}
    places |= {name: tmp_path / name.lower() for name in ("NONE", "EMPTY", "UNFINISHED", "DAMAGED", "OTHERS")}
    places["EMPTY"].mkdir()
    for name in ("UNFINISHED", "DAMAGED", "OTHERS"):
        shutil.copytree(folder, places[name])
    (places["UNFINISHED"] / "weights.safetensors").unlink()
    weights = places["DAMAGED"] / "weights-best.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    model = {
        **TABLES["model"],
        "layers": [TABLES["model"]["layers"][0], {"name": "dense", "in_features": 64, "out_features": 11}],
    }
    recipe = json.loads((folder / "recipe.json").read_text())
    (places["OTHERS"] / "recipe.json").write_text(json.dumps({**recipe, "model": model}))

    def filled(text: str) -> str:
        for name, place in places.items():
            text = text.replace(name, str(place))
        return text

    assert main([filled(word) for word in call]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"tinygrad-lab {call[0]}: ")
    assert filled(message) in told
    assert told.count("\n") == 1


def test_color_images_for_a_gray_network_are_refused(tmp_path: Path, capsys: Capture) -> None:
    """Data sets have a fixed number of channels; picture files are converted to gray."""
    folder = trained(tmp_path / "runs", training={"epochs": 1})
    for name in "01":
        (tmp_path / "pictures" / "test" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), "red").save(tmp_path / "pictures" / "test" / name / "a.png")
    shutil.copytree(tmp_path / "pictures" / "test", tmp_path / "pictures" / "train")
    call = ["evaluate", str(folder), "--dataset", "image_folder", "--data", str(tmp_path / "pictures")]
    assert main(call) == 1
    assert "expected images of 1 channels (the last axis), got 3 in 'test'" in capsys.readouterr().err
    assert main(["predict", str(folder), str(tmp_path / "pictures" / "test")]) == 0  # in gray
