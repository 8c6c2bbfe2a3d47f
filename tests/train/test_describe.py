"""The description of a run before its first step, and its lines in a terminal of 80 columns."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from tinygrad_lab.registry import models
from tinygrad_lab.train import find_recipe
from tinygrad_lab.train.build import build_trainer
from tinygrad_lab.train.describe import describe_run
from tinygrad_lab.train.progress import LineReporter, LiveReporter
from tinygrad_lab.weights import save_weights


def lines_of(*settings: str) -> list[str]:
    recipe = find_recipe("lenet5").override(["data.per_class=20", *settings])
    return describe_run(recipe, build_trainer(recipe), root=None)


def test_data_and_network_are_described() -> None:
    assert lines_of() == [
        "digits: 200 training + 145 validation + 359 test images 32x32x1, 10 classes "
        "(0: 20, 1: 20, 2: 20, 3: 20, 4: 20, 5: 20, ...)",
        "lenet5: 61,706 parameters; 4 updates an epoch",
    ]


@pytest.mark.parametrize(
    ("settings", "images"),
    [
        (["data.validation=0.0"], "200 training + 359 test images"),
        (['training.test="never"'], "200 training + 145 validation images"),
        (['training.test="epoch"'], "200 training + 145 validation + 359 test images"),
        (['data.classes=["3","8"]', "model.classes=2"], "validation images 32x32x1, 2 classes (3: 20, 8: 20)"),
    ],
)
def test_unknown_numbers_of_images_are_left_out(settings: list[str], images: str) -> None:
    assert images in lines_of(*settings)[0]


def test_fine_tuning_lists_loaded_new_and_frozen_variables(tmp_path: Path) -> None:
    options = {**find_recipe("lenet5").options("model"), "classes": 7}
    model = models["lenet5"](**options, rng=5)
    save_weights(model, tmp_path / "seven.safetensors")
    *others, head = model.children()
    rest = [f'transfer.fresh=["{head}.*"]', 'transfer.freeze=["*"]', f'transfer.but=["{head}"]']
    taken, frozen = lines_of(f"transfer.weights='{tmp_path / 'seven.safetensors'}'", *rest)[2:]
    count = len(model.variables()) - 2
    assert taken == f"weights of seven.safetensors: {count} arrays; newly drawn: {head}.weight, {head}.bias"
    assert frozen.startswith("850 of 61,706 parameters learn; frozen: ")
    assert frozen.endswith(", ".join(name for name in others if model[name].parameters()))


METRICS: dict[str, Any] = {"loss": 0.12345, "accuracy": 0.98765, "images_per_second": 123456.7, "lr": 0.1}
JUDGED = {"loss": 1.5, "accuracy": 0.97}


@pytest.mark.parametrize("reporter", [LineReporter, LiveReporter])
def test_the_time_left_is_within_80_columns(reporter: type[LineReporter], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown, recipe = io.StringIO(), find_recipe("lenet5")
    history: list[Any] = []
    with reporter(shown).training(recipe, 30, ["data of a line", "network of a line"]):
        pass
    told = reporter(shown)
    with told.training(recipe, 30):
        for epoch in (1, 2):
            told.step({**METRICS, "epoch": epoch, "epochs": 30, "step": 3, "steps": 3})
            history.append({**METRICS, "epoch": epoch, "test": JUDGED, "validation": JUDGED})
            told.epoch(history)
    text = shown.getvalue()
    assert "data of a line\nnetwork of a line\n" in text
    line = next(line for line in text.splitlines() if "epoch  2/30" in line)
    assert "left  loss 0.1235  accuracy 98.77%  validation 97.00%" in line[:80]


@pytest.mark.parametrize("reporter", [LineReporter, LiveReporter])
def test_a_reporter_as_a_callback_prints_lines(reporter: type[LineReporter]) -> None:
    shown = io.StringIO()
    told = reporter(shown)
    for epoch in (1, 2):
        told.step({**METRICS, "epoch": epoch, "epochs": 2, "step": 3, "steps": 3})
        told.epoch([{**METRICS, "epoch": epoch}])
    assert [line[:11] for line in shown.getvalue().splitlines()] == ["epoch 1/2  ", "epoch 2/2  "]


def test_a_notebook_without_widgets_shows_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("tinygrad_lab.train.progress.installed", lambda name: False)
    shown = io.StringIO()
    told = LiveReporter(shown)
    with told.training(find_recipe("lenet5"), 2):
        told.step({**METRICS, "epoch": 1, "epochs": 2, "step": 3, "steps": 3})
        told.epoch([{**METRICS, "epoch": 1}])
    assert shown.getvalue().splitlines()[1].startswith("epoch 1/2  loss 0.1235")
    assert "\x1b" not in shown.getvalue()


def test_the_bar_fits_into_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    shown = io.StringIO()
    told = LiveReporter(shown)
    with told.training(find_recipe("lenet5"), 100):
        told.step({**METRICS, "epoch": 100, "epochs": 100, "step": 3, "steps": 3})
        (row,) = told.bar.console.render_lines(told.bar.get_renderable(), pad=False)
    text = "".join(segment.text for segment in row)
    assert len(text) <= 80
    assert "left" in text
    assert "123,457/s" in text
