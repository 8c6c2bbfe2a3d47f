"""The headline accuracies of a run and of several: the chosen epoch, the spread, and the page of results."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.cli import main, train
from tinygrad_lab.errors import ConfigError
from tinygrad_lab.train.evaluation import best_epoch, divergence, headline_accuracies, spread
from tinygrad_lab.train.folder import recipe_text
from tinygrad_lab.train.ledger import LEDGER, read_ledger
from tinygrad_lab.train.provenance import machine, revision
from tinygrad_lab.train.recipe import find_recipe
from tinygrad_lab.train.recipe import recipe_text as find_text
from tinygrad_lab.train.results import changes, compared, gather, judged, page, read_results, read_runs, write_results

accuracies = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=9)


def made_history(pairs: list[tuple[float, float]]) -> list[dict[str, Any]]:
    return [
        {"test": {"accuracy": test, "loss": 1.0}, "validation": {"accuracy": chosen, "loss": 1.0}}
        for test, chosen in pairs
    ]


@given(accuracies)
def test_the_chosen_epoch_does_not_depend_on_the_test_set(
    pairs: list[tuple[float, float]],
) -> None:
    told = headline_accuracies(made_history(pairs))
    assert told["best_on_test"]["accuracy"] == max(test for test, _ in pairs)
    assert told["best_on_test"]["accuracy"] >= told["chosen_on_validation"]["accuracy"]
    assert told["last"]["accuracy"] == pairs[-1][0]
    swapped = headline_accuracies(made_history([(1 - test, chosen) for test, chosen in pairs]))
    assert swapped["chosen_on_validation"]["epoch"] == told["chosen_on_validation"]["epoch"]


def test_ties_of_accuracy_are_broken_by_loss_and_then_by_epoch() -> None:
    history = [{"test": {"accuracy": 0.9, "loss": loss}} for loss in (0.5, 0.3, 0.3)]
    assert best_epoch(history, "test") == 1


def test_without_validation_images_no_epoch_is_chosen() -> None:
    assert headline_accuracies([{"test": {"accuracy": 0.5, "loss": 1.0}}]).keys() == {"best_on_test", "last"}


def test_without_test_images_the_last_validation_accuracy_is_reported() -> None:
    history = [{"validation": {"accuracy": accuracy, "loss": 1.0}} for accuracy in (0.9, 0.5)]
    assert headline_accuracies(history) == {"last": {"epoch": 2, "accuracy": 0.5, "loss": 1.0}}


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_the_spread_is_the_sample_standard_deviation(values: list[float]) -> None:
    told = spread(values)
    assert told["mean"] == pytest.approx(np.mean(values), abs=1e-6)
    assert told["std"] == pytest.approx(np.std(values, ddof=1), abs=1e-6)
    assert told["values"] == values


def test_a_loss_that_fluctuates_has_not_diverged() -> None:
    for first, last, diverged in ((0.012, 0.01201, False), (1.0, 1.09, False), (1.0, 1.11, True), (-2.0, -1.9, False)):
        assert (divergence([{"loss": first}, {"loss": last}]) is not None) == diverged
    assert divergence([{"loss": 2.2}, {"loss": 2.31}], classes=10) is not None  # above log(10)


def made_run(folder: Path, *, recipe: str, seed: int, accuracy: float, lr: float = 0.1) -> None:
    folder.mkdir(parents=True)
    told = {"epoch": 2, "accuracy": accuracy, "loss": 1.0}
    tables = {
        "name": recipe,
        "recipe": {"title": "T"},
        "optimizer": {"lr": lr},
        "training": {"epochs": 3, "seed": seed},
    }
    result = {
        "seed": seed, "epochs": 3, "images_per_second": 10.0 * seed, "training_accuracy": 1.0,
        "figures": {"best_on_test": told, "last": told, "chosen_on_validation": told}, "test": told,
    }  # fmt: skip
    (folder / "recipe.json").write_text(json.dumps(tables))
    (folder / "result.json").write_text(json.dumps(result))


def test_runs_of_the_same_settings_are_seeds_of_one_experiment(tmp_path: Path) -> None:
    for seed, accuracy in ((1, 0.8), (2, 0.9)):
        made_run(tmp_path / f"run{seed}", recipe="lenet5", seed=seed, accuracy=accuracy)
    made_run(tmp_path / "trial", recipe="lenet5_mnist", seed=1, accuracy=0.1)
    one, other = gather(read_runs(tmp_path))
    assert (one["recipe"], one["seeds"], one["images_per_second"]) == ("lenet5", [1, 2], 20.0)
    assert one["last"] == {"mean": 0.85, "std": 0.070711, "values": [0.8, 0.9]}
    assert other["seeds"] == [1]
    assert gather(read_runs(tmp_path / "trial", tmp_path / "run2", tmp_path / "run2"))[0]["seeds"] == [2]
    with pytest.raises(ConfigError, match=r"expected a folder with runs, got .*none, which does not exist"):
        read_runs(tmp_path, tmp_path / "none")


def test_runs_with_other_settings_are_another_experiment(tmp_path: Path) -> None:
    for lr in (0.1, 0.2):
        made_run(tmp_path / str(lr), recipe="lenet5", seed=0, accuracy=0.5, lr=lr)
    found = gather(read_runs(tmp_path))
    assert len(found) == 2
    told = r"settings in all runs of one name, got different ones for \['lenet5'\] \(optimizer\.lr=0\.[12]\); keep the "
    with pytest.raises(ConfigError, match=told):
        write_results(found, tmp_path / "out")


def test_settings_that_differ_from_the_recipe_are_listed() -> None:
    recipe = find_recipe("lenet5")
    steps = 'augment=[{name="flip"}, {name="normalize", mean=[0.5], std=[1e-3]}]'
    for settings in (
        [],
        ["optimizer.lr=0.5", "augment=[]"],
        [steps, "data.validation=0.25"],
        ["optimizer.nesterov=true"],
    ):
        changed = recipe.override(settings)
        told = changes({"recipe": "lenet5", "settings": changed.tables})
        assert len(told) == len(settings)
        assert recipe.override(told).tables == changed.tables, "--set accepts the listed settings"
    seed_and_title = recipe.override(["training.seed=3", "recipe.title=other"]).tables
    assert changes({"recipe": "lenet5", "settings": seed_and_title}) == []
    without = {name: table for name, table in recipe.tables.items() if name != "schedule"}
    assert changes({"recipe": "lenet5", "settings": without}) == ["no schedule.name"]
    assert changes({"recipe": "a_file_of_mine", "settings": without}) == changes({"recipe": "lenet5"}) == []


@pytest.mark.parametrize(
    ("name", "settings", "seeds"),
    [
        ("lenet5", ["optimizer.name=adam", "training.test=never"], [0]),
        ("lenet5", ["optimizer={name='sgd', lr=0.5}", "augment=[]", "schedule={name='step', every=2}"], [2, 3]),
        ("resnet20", ["data.validation=0.25", "training.clip_norm=1"], [0, 1, 4]),
        ("mine.toml:edge", ["optimizer.lr=0.5", "training.test=epoch"], [1]),
    ],
)
def test_the_recorded_command_reproduces_the_settings(
    name: str, settings: list[str], seeds: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(find_text("padding_cnn7"))
    ran = find_recipe(name).override(settings)
    for seed in seeds:
        made_run(Path(f"run{seed}"), recipe="replaced", seed=seed, accuracy=0.5)
        Path(f"run{seed}", "recipe.json").write_bytes(recipe_text(ran.override([f"training.seed={seed}"])))
    (one,) = gather(read_runs(Path()))
    made = []
    for line in one["command"].split("; "):
        parser = argparse.ArgumentParser()
        train.add_arguments(parser)
        found = parser.parse_args(shlex.split(line)[2:])
        recipe = find_recipe(found.recipe).override(found.set)
        first = recipe["training"].get("seed", 0)
        for seed in range(first, first + found.seeds):
            made.append(recipe.override([f"training.seed={seed}"]).tables)
    expected = [ran.override([f"training.seed={seed}"]).tables for seed in seeds]
    for tables in (*made, *expected):
        tables.pop("origin", None)
        tables["training"].setdefault("test", "end")
    assert made == expected


def test_a_setting_that_no_command_can_remove_is_named(tmp_path: Path) -> None:
    made_run(tmp_path / "run", recipe="lenet5", seed=0, accuracy=0.5)
    tables = {"name": "lenet5", **find_recipe("lenet5").tables}
    del tables["schedule"]
    (tmp_path / "run" / "recipe.json").write_text(json.dumps(tables))
    (one,) = gather(read_runs(tmp_path))
    assert one["command"] == "tinygrad-lab train lenet5  # without schedule, which the recipe has today"


def test_accuracies_on_validation_images_are_marked_and_not_compared(tmp_path: Path) -> None:
    for name in ("padding_cnn7", "padding_cnn7:none"):
        for seed in (0, 1):
            made_run(tmp_path / f"{name}{seed}", recipe=name, seed=seed, accuracy=0.5)
            if name == "padding_cnn7":
                path = tmp_path / f"{name}{seed}" / "result.json"
                result = json.loads(path.read_text())
                result["validation"] = result.pop("test") | {"images": 1000}
                path.write_text(json.dumps(result))
    one, other = gather(read_runs(tmp_path))
    assert (one["evaluated_on"], one["validation_images"], other["evaluated_on"]) == ("validation", 1000, "test")
    assert judged(one, other) is None
    text = page([one, other])
    assert "| `padding_cnn7` *validation* |" in text
    assert "| `padding_cnn7:none` |" in text
    older = {key: value for key, value in other.items() if key != "evaluated_on"}
    assert judged(older, other) is not None, "results without the entry are of test images"


def test_added_seeds_are_compared_at_the_level_of_their_stopping_rule(tmp_path: Path) -> None:
    for name, accuracy in (("padding_cnn7", 0.5), ("padding_cnn7:none", 0.6)):
        for seed in (0, 1):
            made_run(tmp_path / f"{name}{seed}", recipe=name, seed=seed, accuracy=accuracy + seed / 100 * accuracy)
    found = judged(*gather(read_runs(tmp_path)))
    assert found is not None
    assert found.level == 0.95
    rule = {"compared_with": "padding_cnn7:none", "at_most": 6, "level": 0.99}
    (tmp_path / "padding_cnn71" / "stopping.json").write_text(json.dumps(rule))
    one, other = gather(read_runs(tmp_path))
    assert one["stopping"] == [rule]
    assert "(99 % interval" in compared(one, other)


def test_seeds_of_two_devices_are_two_experiments(tmp_path: Path) -> None:
    for seed, device in ((0, "cpu"), (1, "cuda")):
        made_run(tmp_path / device, recipe="lenet5", seed=seed, accuracy=0.5)
        path = tmp_path / device / "result.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"machine": {"device": device}, "revision": "a1"}))
    found = gather(read_runs(tmp_path))
    assert [one["seeds"] for one in found] == [[0], [1]]
    assert found[1]["command"].startswith("tinygrad-lab train lenet5 ")
    assert "--device cuda" in found[1]["command"]
    with pytest.raises(ConfigError, match="test images, cpu; test images, cuda"):
        write_results(found, tmp_path / "out")


def test_results_of_a_user_recipe_show_differing_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for lr in (0.1, 0.2):
        made_run(tmp_path / str(lr), recipe="a_rather_long_name_of_mine", seed=0, accuracy=0.5, lr=lr)
    assert main(["results", str(tmp_path)]) == 0
    head, *rows, _ = capsys.readouterr().out.splitlines()
    assert head.split() == ["recipe", "seeds", "epochs", "best", "last", "chosen"]
    assert [row.strip() for row in rows[1::3]] == ["with optimizer.lr=0.1", "with optimizer.lr=0.2"]
    assert [row.strip() for row in rows[2::3]] == [f"in {tmp_path / lr}" for lr in ("0.1", "0.2")]
    assert rows[0].startswith("a_rather_long_name_of_mine ")


def test_a_result_names_its_machines_revisions_and_command(tmp_path: Path) -> None:
    for seed, commit in ((0, "a1"), (1, "a1"), (4, "b2+")):
        made_run(tmp_path / f"run{seed}", recipe="padding_cnn7:edge", seed=seed, accuracy=0.5)
        path = tmp_path / f"run{seed}" / "result.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"machine": machine(), "revision": commit}))
    recipe = find_recipe("padding_cnn7:edge").override(["optimizer.lr=0.25", "data.classes=['cat', 'dog']"])
    for path in tmp_path.glob("*/recipe.json"):
        seed = json.loads(path.read_text())["training"]["seed"]
        path.write_bytes(recipe_text(recipe.override([f"training.seed={seed}"])))
    (one,) = gather(read_runs(tmp_path))
    assert (one["machines"], one["revisions"]) == ([machine()], ["a1", "b2+"])
    first, second = (shlex.split(part) for part in one["command"].split("; "))
    assert first[:5] == ["tinygrad-lab", "train", "padding_cnn7:edge", "--seeds", "2"]
    assert second[-2:] == ["--set", "training.seed=4"]
    for words in (first[5:], second[3:]):
        assert find_recipe("padding_cnn7:edge").override(words[1::2])["optimizer"]["lr"] == 0.25


def test_the_revision_is_that_of_the_clone_that_tracks_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert re.fullmatch(r"[0-9a-f]{7,}\+?|version \S+", revision())
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    package = tmp_path / "site-packages" / "tinygrad_lab"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setattr(tgl, "__file__", str(package / "__init__.py"))
    assert revision() == f"version {tgl.__version__}", "an installed package in a user's clone does not belong to it"


def test_descriptions_of_a_recipe_do_not_make_another_experiment(tmp_path: Path) -> None:
    for seed, told in ((0, "T"), (1, "a better title")):
        made_run(tmp_path / f"run{seed}", recipe="lenet5", seed=seed, accuracy=0.5)
        path = tmp_path / f"run{seed}" / "recipe.json"
        tables = json.loads(path.read_text())
        more = {"recipe": {"title": told}, "origin": {"stated": ["training"][seed:]}, "variants": {told[0]: {}}}
        path.write_text(json.dumps(tables | more))
    (one,) = gather(read_runs(tmp_path))
    assert (one["seeds"], one["title"]) == ([0, 1], "a better title")


def test_of_two_runs_of_one_seed_the_later_one_counts(tmp_path: Path) -> None:
    for number, accuracy in (("", 0.5), ("-10", 0.9), ("-2", 0.7)):
        made_run(tmp_path / f"lenet5-20260101-101010{number}", recipe="lenet5", seed=0, accuracy=accuracy)
    (one,) = gather(read_runs(tmp_path))
    assert one["last"]["values"] == [0.9]


def test_a_recipe_needs_no_description(tmp_path: Path) -> None:
    made_run(tmp_path / "run", recipe="mine", seed=0, accuracy=0.5)
    path = tmp_path / "run" / "recipe.json"
    tables = json.loads(path.read_text())
    del tables["recipe"]
    path.write_text(json.dumps(tables))
    (one,) = gather(read_runs(tmp_path))
    assert (one["title"], one["source"]) == ("mine", "")


def test_the_page_shows_results_and_lists_missing_runs(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        for name, accuracy, step in (("padding_cnn7", 0.90, seed), ("padding_cnn7:none", 0.80, 2 * seed % 3)):
            made_run(tmp_path / "runs" / f"{name}{seed}", recipe=name, seed=seed, accuracy=accuracy + step / 1000)
    write_results(gather(read_runs(tmp_path / "runs")), tmp_path / "out")
    text = (tmp_path / "out" / "index.md").read_text()
    assert text == page(read_results(tmp_path / "out"))
    assert f"| `padding_cnn7:none` {'| 80.10 ± 0.10 ' * 3}| 100.00 ± 0.00 | 3 | 3 | - | 20 |" in text
    assert (
        "`padding_cnn7:none` compared with `padding_cnn7` at the epochs chosen on validation: "
        "different: 10.00 points lower (95 % interval -10.25 to -9.75, 3 seeds)."
    ) in text
    assert "tinygrad-lab train padding_cnn7:edge" in text
    assert "tinygrad-lab train padding_cnn7\n" not in text


def test_files_that_are_not_results_are_ignored(tmp_path: Path) -> None:
    made_run(tmp_path / "runs" / "lenet5", recipe="lenet5", seed=0, accuracy=0.9)
    results = gather(read_runs(tmp_path / "runs"))
    write_results(results, tmp_path)
    assert results[0].pop("runs") == [str(tmp_path / "runs" / "lenet5")]  # paths of this machine are not written
    assert read_results(tmp_path) == results, "the run's own files are in subfolders"


def test_the_page_shows_the_first_epoch_that_reaches_a_milestone(tmp_path: Path) -> None:
    for name, seed, curve in (
        ("activations", 0, [0.5, 0.75, 0.7]),
        ("activations", 1, [0.7, 0.74996, 0.8]),
        ("activations:tanh", 0, [0.1, 0.2, 0.7]),
    ):
        folder = tmp_path / "runs" / f"{name}{seed}"
        made_run(folder, recipe=name, seed=seed, accuracy=0.9)
        (folder / "metrics.jsonl").write_text("".join(f'{{"accuracy": {a}}}\n' for a in curve))
    write_results(gather(read_runs(tmp_path / "runs")), tmp_path / "out")
    text = (tmp_path / "out" / "index.md").read_text()
    assert "75 % training accuracy, for each seed: `activations` 2, 3; `activations:tanh` none of 3." in text


def test_the_committed_page_equals_that_of_the_committed_results() -> None:
    folder = Path(__file__).parents[2] / "docs" / "results" / "experiments"
    assert (folder / "index.md").read_text(encoding="utf-8") == page(read_results(folder), read_ledger(folder / LEDGER))


def test_the_command_gathers_real_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--set", "training.epochs=1", "--set", "data.per_class=20", "--runs", str(tmp_path)]
    assert main(["train", "--quiet", "--seeds", "2", *short]) == 0
    capsys.readouterr()
    assert main(["results", str(tmp_path), "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["recipe"] == "lenet5"
    assert result["seeds"] == [0, 1]
    assert len(result["chosen_on_validation"]["values"]) == 2
    assert main(["results", str(tmp_path)]) == 0
    assert "\n  with data.per_class=20; training.epochs=1\n" in capsys.readouterr().out


def test_missing_and_damaged_runs_are_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run tinygrad-lab train"):
        read_runs(tmp_path)
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(ConfigError, match=r"results: expected a file at .*recipe\.json, found none"):
        read_runs(tmp_path)
