"""Metrics as plugins: compared with scikit-learn's, and reported wherever a recipe asks for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, top_k_accuracy_score

import tinygrad_lab as tgl
from tests.inspect.test_run import TABLES
from tinygrad_lab import registry
from tinygrad_lab.cli import main
from tinygrad_lab.data import Dataset, Loader
from tinygrad_lab.errors import ConfigError, OptionError, PluginError, ShapeError, StateError
from tinygrad_lab.inspect.curves import read_history
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.optim import SGD
from tinygrad_lab.registry import metrics
from tinygrad_lab.train import Trainer, evaluate, run_recipe
from tinygrad_lab.train.build import build_trainer
from tinygrad_lab.train.metrics import accuracy, brier, top5
from tinygrad_lab.train.progress import Reporter
from tinygrad_lab.train.recipe import Recipe, checked, setting_text
from tinygrad_lab.train.state import check_history
from tinygrad_lab_layers import Dense, Flatten

RNG = np.random.default_rng(0)
LOGITS, LABELS = RNG.normal(size=(40, 8)), RNG.integers(0, 8, 40)


def test_they_agree_with_other_implementations() -> None:
    powers = np.exp(LOGITS)
    p, hot = powers / powers.sum(axis=1, keepdims=True), np.eye(8)[LABELS]
    np.testing.assert_allclose(brier(LOGITS, LABELS), ((p - hot) ** 2).sum(axis=1), rtol=1e-12)
    assert accuracy(LOGITS, LABELS).mean() == accuracy_score(LABELS, LOGITS.argmax(axis=1))
    assert top5(LOGITS, LABELS).mean() == top_k_accuracy_score(LABELS, LOGITS, k=5, labels=range(8))


@pytest.mark.parametrize("metric", [accuracy, top5, brier])
def test_logits_and_labels_come_in_several_forms(metric: Any) -> None:
    expected = metric(LOGITS, LABELS)
    np.testing.assert_array_equal(metric(tgl.tensor(LOGITS), np.eye(8)[LABELS] * 0.9), expected)
    np.testing.assert_array_equal(metric((LOGITS, None), LABELS), expected)  # auxiliary classifiers beside it
    single, labels = LOGITS[:, :1], LABELS % 2
    two = np.hstack([-single / 2, single / 2])
    for given in (labels, labels[:, None].astype("float32")):
        np.testing.assert_array_equal(metric(single, given), metric(two, labels))


def test_equal_logits_count_in_order() -> None:
    assert top5(np.zeros((8, 8)), np.arange(8)).tolist() == [True] * 5 + [False] * 3


def test_an_example_with_a_nan_counts_as_wrong() -> None:
    logits = np.zeros((3, 10))
    logits[0], logits[1, 7] = np.nan, np.nan
    for metric in (accuracy, top5):
        assert metric(logits, np.zeros(3, int)).tolist() == [False, False, True]
    assert accuracy(np.full((2, 1), np.nan), np.array([0, 1])).tolist() == [False, False]


def network() -> tgl.Sequential:
    return tgl.Sequential(Flatten(), Dense(4, 8, rng=0))


def batches(count: int) -> Loader:
    data = Dataset(RNG.integers(0, 256, (count, 2, 2, 1)).astype("uint8"), np.arange(count) % 8)
    return Loader(data, batch_size=5, shuffle=False, workers=0)


def test_the_mean_is_over_examples_not_batches() -> None:
    model, loader = network(), batches(8)
    found = evaluate(model, softmax_cross_entropy, loader, {"top5": top5, "brier": brier})
    images = loader.dataset.images.astype("float32") / 255
    logits = model(images).numpy()
    for name, metric in (("top5", top5), ("brier", brier)):
        np.testing.assert_allclose(found.metrics[name], metric(logits, loader.dataset.labels).mean(), rtol=1e-6)
    assert found.scores.keys() == {"accuracy", "loss", "top5", "brier"}


def test_a_metric_that_returns_something_else_is_named() -> None:
    wrong: Any = {"mine": lambda logits, labels: accuracy(logits, labels).mean()}
    with pytest.raises(ShapeError, match=r"metric 'mine': expected a number for each of 5 examples, got \(\)"):
        evaluate(network(), softmax_cross_entropy, batches(8), wrong)


@pytest.mark.parametrize("name", ["accuracy", "epoch", "images", "loss"])
def test_a_metric_does_not_replace_another_entry_of_a_result(name: str) -> None:
    model, match = network(), f"expected names that are not those of other entries of a result, got '{name}'; remove"
    with pytest.raises(OptionError, match=f"^evaluate: {match}"):
        evaluate(model, softmax_cross_entropy, batches(8), {name: top5})
    with pytest.raises(OptionError, match=f"^Trainer: {match}"):
        Trainer(model, softmax_cross_entropy, SGD(model.parameters(), lr=0.1), batches(8), metrics={name: top5})
    if name != "accuracy":  # a recipe may name it, although every run has it
        with pytest.raises(ConfigError, match=f"small': training.metrics: {match}"):
            checked({**TABLES, "training": {"epochs": 1, "metrics": ["top5", name]}}, "small")


def test_a_run_reports_them_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = ["accuracy", "top5", "brier"]
    recipe = Recipe("small", {**TABLES, "training": {"epochs": 2, "metrics": named}})
    result = run_recipe(recipe, Reporter(), runs=tmp_path)
    last = result["figures"]["last"]
    assert last.keys() == {"epoch", "accuracy", "loss", "top5", "brier"}
    assert result["test"] == {**{k: v for k, v in last.items() if k != "epoch"}, "images": 359}
    folder = Path(result["run"])
    history = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all(0 <= metrics["validation"]["top5"] <= 1 for metrics in history)
    check_history(history, ["validation"])
    report = tgl.load_run(folder, weights="last").evaluate()
    assert report.top(5) == pytest.approx(last["top5"])
    plugins = json.loads((folder / "manifest.json").read_text())["plugins"]
    assert [p["name"] for p in plugins if p["kind"] == "metrics"] == ["brier", "top5"]
    again = run_recipe(recipe, Reporter(), resume=folder)  # after its last epoch
    assert again["figures"]["last"] == last
    command = ["train", str(folder / "recipe.json"), "--runs", str(tmp_path / "more")]
    assert main([*command, "--set", "training.epochs=1"]) == 0
    assert ", top5 0." in capsys.readouterr().out


def test_a_mean_that_is_not_finite_is_null_in_the_files_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    infinite = {**metrics._loaded, "brier": lambda logits, labels: brier(logits, labels) + np.inf}
    monkeypatch.setattr(metrics, "_loaded", infinite)
    recipe = tmp_path / "small.toml"
    tables = {**TABLES, "training": {"epochs": 1, "metrics": ["brier"]}}
    recipe.write_text("".join(f"{name} = {setting_text(table)}\n" for name, table in tables.items()))
    assert main(["train", str(recipe), "--runs", str(tmp_path / "runs"), "--json"]) == 0

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    result = json.loads(capsys.readouterr().out, parse_constant=refuse)
    folder = Path(result["run"])
    assert json.loads((folder / "result.json").read_text(), parse_constant=refuse) == result
    epoch = json.loads((folder / "metrics.jsonl").read_text(), parse_constant=refuse)
    assert result["figures"]["last"]["brier"] is epoch["validation"]["brier"] is None
    assert np.isnan(read_history(folder / "metrics.jsonl")[0]["validation"]["brier"])
    assert (folder / "curves.png").exists()


def test_mistakes_in_recipes_are_named() -> None:
    small = Recipe("small", {**TABLES, "training": {"epochs": 1}})

    def built(named: str) -> Any:
        return build_trainer(small.override([f"training.metrics={named}"]))

    assert built('["accuracy"]').metrics == {}
    with pytest.raises(PluginError, match="did you mean 'top5'"):
        built('["top3"]')
    with pytest.raises(ConfigError, match=r"training\.metrics"):
        built('"top5"')
    history = [{"epoch": 1, "lr": 0.1, "loss": 1.0, "accuracy": 0.5, "seconds": 1.0, "images_per_second": 1.0}]
    with pytest.raises(StateError, match="top5"):
        check_history([{**history[0], "test": {"accuracy": 0.5, "loss": 1.0, "top5": "high"}}], ["test"])


def test_they_are_plugins() -> None:
    assert {"accuracy", "brier", "top5"} <= set(metrics)
    assert registry.metrics["top5"] is top5
