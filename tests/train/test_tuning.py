"""Tuning reads no test images, records every trial and ranks by validation; seeds are added until a decision."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tinygrad_lab.cli import main
from tinygrad_lab.data.sources.digits import Digits
from tinygrad_lab.errors import ConfigError, StateError
from tinygrad_lab.train import find_recipe, results, run, tuning
from tinygrad_lab.train.folder import digest
from tinygrad_lab.train.ledger import LEDGER, read_ledger, trials_page
from tinygrad_lab.train.progress import Reporter
from tinygrad_lab.train.recipe import recipe_text
from tinygrad_lab.train.results import gather, page, read_results, read_runs, write_results
from tinygrad_lab.train.tuning import candidates, lead, ranking, tune

RECIPE = find_recipe("lenet5").override(["data.per_class=20", "training.epochs=2"])


@pytest.fixture
def splits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of the splits that are read; the test split raises."""
    read, found = Digits.read, []

    def refusing(self: Digits, split: str, **options: Any) -> Any:
        found.append(split)
        assert split != "test", "the test split was read"
        return read(self, split, **options)

    monkeypatch.setattr(Digits, "read", refusing)
    monkeypatch.setattr(tuning, "revision", lambda: "a1")
    return found


def test_candidates_are_all_combinations_in_order() -> None:
    assert candidates([]) == [[]]
    assert candidates(["a.b=1,2", 'c.d="x","y"', "augment=[]"]) == [
        [f"a.b={n}", f'c.d="{word}"', "augment=[]"] for n in (1, 2) for word in "xy"
    ]
    assert candidates(['augment=[{name = "flip"}],[]']) == [['augment=[{"name" = "flip"}]'], ["augment=[]"]]
    for wrong in ("optimizer.lr", "optimizer.lr="):
        with pytest.raises(ConfigError, match=r"expected table\.key=VALUE,VALUE"):
            candidates([wrong])


def test_tuning_reads_no_test_image_and_records_every_trial(tmp_path: Path, splits: list[str]) -> None:
    trials = tune(RECIPE, ["optimizer.lr=0.05,1e20"], Reporter(), seeds=2, folder=tmp_path)
    assert set(splits) == {"train"}
    kept = read_ledger(tmp_path / LEDGER)
    assert kept == trials
    assert [(trial["settings"], trial["seed"]) for trial in kept] == [
        ([f"optimizer.lr={lr}"], seed) for lr in ("0.05", "1e+20") for seed in (0, 1)
    ]
    assert [trial["status"].partition(":")[0] for trial in kept] == ["finished", "finished", "diverged", "diverged"]
    ((settings, by_seed),) = ranking(trials)
    assert (settings, by_seed) == (["optimizer.lr=0.05"], {t["seed"]: t["accuracy"] for t in trials[:2]})
    assert lead(ranking(trials), 145) is None
    for trial in kept:
        assert trial.keys() >= {"machine", "revision", "command"}
        assert str(tmp_path) not in json.dumps(trial), "a ledger contains no path of the machine"
    text = trials_page(kept)
    assert "| `lenet5` | `optimizer.lr=1e+20` | 2 | -; seed 0 diverged; seed 1 diverged | a1 |" in text


def test_a_finished_trial_is_not_run_again_by_the_same_code(
    tmp_path: Path, splits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tune(RECIPE, ["optimizer.lr=0.05"], Reporter(), seeds=1, folder=tmp_path)
    runs = len(splits)  # of a trial and of the check before it
    again = tune(RECIPE, ["optimizer.lr=0.05,0.06"], Reporter(), seeds=1, folder=tmp_path)
    assert len(splits) == 2 * runs
    assert again[0] == first[0]
    elsewhere = {"root": str(tmp_path / "data")}
    changed = RECIPE.override(["optimizer.momentum=0.5"])  # another recipe with the same name
    for recipe, options in ((changed, {}), (RECIPE, elsewhere)):
        before = len(splits)
        tune(recipe, ["optimizer.lr=0.05"], Reporter(), seeds=1, folder=tmp_path, **options)
        assert len(splits) == before + runs
    assert digest(RECIPE, root=None, device="cpu") != digest(RECIPE, root=None, device="cuda")
    monkeypatch.setattr(tuning, "revision", lambda: "b2+")
    for _ in range(2):
        tune(RECIPE, ["optimizer.lr=0.05"], Reporter(), seeds=1, folder=tmp_path)
    assert len(read_ledger(tmp_path / LEDGER)) == 6, "edited code runs again each time"


@pytest.mark.slow
def test_the_recorded_command_repeats_the_trial(
    tmp_path: Path, splits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lenet.toml").write_text(recipe_text("lenet5"))
    short = ["data.per_class=20", "training.epochs=1", "training.seed=3", 'augment=[{name="shift", width=0.1}]']
    for name in ("lenet5", "lenet.toml"):
        trials = tune(find_recipe(name), [*short, "optimizer.lr=0.05"], Reporter(), root="data files")
        assert [trial["seed"] for trial in trials] == [3, 4]
        for trial in trials:
            ran = trial | {"seconds": 0}
            assert f"tune {name} " in trial["command"]
            assert main([*shlex.split(trial["command"])[1:], "--folder", f"again {name}"]) == 0
            again = read_ledger(Path(f"again {name}", LEDGER))[-1]
            assert again | {"seconds": 0} == ran
    assert set(splits) == {"train"}


def test_wrong_settings_are_refused_before_the_first_trial(
    tmp_path: Path, splits: list[str]
) -> None:
    for setting in ("training.seed=0,1", "data.validation=0.1,0.2", "data.seed=0,1", 'data.classes=["0"],["1"]'):
        with pytest.raises(ConfigError, match="expected one value, got 2; trials are ranked on the same images"):
            tune(RECIPE, [setting], Reporter(), folder=tmp_path)
    assert splits == []
    with pytest.raises(ConfigError, match="clip_norm: expected a bound above 0"):
        tune(RECIPE, ["training.clip_norm=1.0,-1.0"], Reporter(), folder=tmp_path)
    assert not (tmp_path / LEDGER).exists()
    assert not list(tmp_path.glob("*/result.json"))


def test_a_repeated_seed_counts_once() -> None:
    trial = {"recipe": "a", "settings": ["optimizer.lr=0.1"], "revision": "a1", "digest": "d", "status": "finished"}
    trials = [trial | {"seed": seed, "accuracy": accuracy} for seed, accuracy in ((0, 0.5), (1, 0.9), (0, 0.7))]
    assert "| `a` | `optimizer.lr=0.1` | 2; 1 repeated | 80.00 ± 14.14 | a1 |" in trials_page(trials)
    other = trial | {"digest": "of another recipe", "seed": 0, "accuracy": 0.6}
    assert trials_page([*trials, other]).count("| `a` |") == 2


def test_a_stopped_trial_stays_in_the_ledger(
    tmp_path: Path, splits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopping(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning, "run_recipe", stopping)
    with pytest.raises(KeyboardInterrupt):
        tune(RECIPE, ["optimizer.lr=0.05,0.06"], Reporter(), folder=tmp_path)
    (trial,) = read_ledger(tmp_path / LEDGER)
    assert trial["status"] == "stopped"

    def failing(*_: Any, **__: Any) -> Any:
        raise StateError("no space left")

    monkeypatch.setattr(tuning, "run_recipe", failing)
    with pytest.raises(StateError):
        tune(RECIPE, ["optimizer.lr=0.05"], Reporter(), folder=tmp_path)
    assert read_ledger(tmp_path / LEDGER)[-1]["status"] == "failed"


def test_tuning_needs_validation_images(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no data\.validation"):
        tune(RECIPE, ["data.validation=0.0"], Reporter(), folder=tmp_path)
    with pytest.raises(ConfigError, match="expected at least 1, got 0"):
        tune(RECIPE, [], Reporter(), seeds=0, folder=tmp_path)


@pytest.mark.parametrize("line", ["[]", "{", '{"recipe": "lenet5"}'])
def test_a_damaged_ledger_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / LEDGER).write_text(line + "\n")
    with pytest.raises((ConfigError, StateError), match=r"ledger.*line 1"):
        read_ledger(tmp_path / LEDGER)


def test_the_command_prints_the_ranking_and_the_page_shows_the_ledger(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = ["--set", "data.per_class=20", "--set", "training.epochs=2"]
    arguments = ["--set", "optimizer.lr=0.001,0.08", *short, "--folder", str(tmp_path / "tuning")]
    assert main(["tune", "lenet5", *arguments]) == 0
    text = capsys.readouterr().out
    assert "145 images, 2 seeds; no test image was read" in text
    assert "the best compared with the second: " in text
    assert "train it: tinygrad-lab train lenet5 --set optimizer.lr=" in text
    assert main(["train", "lenet5", "--json", *short, "--runs", str(tmp_path / "runs")]) == 0
    capsys.readouterr()
    ledger, out = str(tmp_path / "tuning" / LEDGER), tmp_path / "out"
    for _ in range(2):  # the second time adds nothing
        assert main(["results", str(tmp_path / "runs"), "--write", str(out), "--ledger", ledger]) == 0
    assert len(read_ledger(out / LEDGER)) == 4
    shown = (out / "index.md").read_text()
    assert shown == page(read_results(out), read_ledger(out / LEDGER))
    assert "## Trials" in shown
    (one,) = gather(read_runs(tmp_path / "runs"))
    assert one["test_looks"] == [1 + (one["chosen_epochs"] != [2])]
    with pytest.raises(ConfigError, match="expected a folder with runs"):
        write_results(gather(read_runs(tmp_path / "none")), out)


@pytest.mark.slow
def test_seeds_are_added_until_the_verdict_decides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (run, results):
        monkeypatch.setattr(module, "revision", lambda: "a1")
    slow = tmp_path / "slow.toml"
    slow.write_text(recipe_text("lenet5").replace("0.08", "1e-5"))
    arguments = ["train", "lenet5", "--set", "training.epochs=3", "--until-decided", str(slow), "--at-most", "6"]
    arguments += ["--runs", str(tmp_path / "runs")]
    assert main([*arguments, "--quiet"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("lenet5 compared with slow: different: ")
    assert "(99 % interval" in last, "five comparisons share the 5 %"
    seeds = sorted(json.loads(p.read_text())["seed"] for p in (tmp_path / "runs").glob("*/result.json"))
    assert seeds == [seed for seed in range(len(seeds) // 2) for _ in "ab"]
    assert len(seeds) < 12
    (rule,) = {p.read_text() for p in (tmp_path / "runs").glob("lenet5*/stopping.json")}
    assert json.loads(rule) == {"compared_with": "slow", "at_most": 6, "level": 0.99}
    assert main([*arguments, "--json"]) == 0
    *_, shown = map(json.loads, capsys.readouterr().out.splitlines())
    assert shown["verdict"]["better"] == "first"
    assert shown["verdict"]["pairs"] == len(seeds) // 2
    assert main([*arguments, "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == last, "finished runs are used and not repeated"
    assert len(list((tmp_path / "runs").glob("*/result.json"))) == len(seeds)
    assert main(["train", "lenet5", "--until-decided", str(slow), "--at-most", "1"]) == 1
    assert "expected --at-most 2 or more" in capsys.readouterr().err


def test_until_decided_compares_only_recipes_on_the_same_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = recipe_text("lenet5")
    others = {
        "data.classes: None and ['0', '1']": text.replace("validation =", 'classes = ["0", "1"]\nvalidation ='),
        "data.name: digits and mnist": text.replace('"digits"', '"mnist"'),
        "split: test and validation": text.replace("seed = 0", 'seed = 0\ntest = "never"'),
    }
    for number, (reason, other) in enumerate(others.items()):
        path = tmp_path / f"other{number}.toml"
        path.write_text(other)
        assert main(["train", "lenet5", "--until-decided", str(path), "--runs", str(tmp_path / "runs")]) == 1
        message = capsys.readouterr().err
        assert "the same images, got" in message
        assert number == 2 or reason in message
    assert not (tmp_path / "runs").exists()
    assert main(["train", "lenet5", "--at-most", "3"]) == 1
    assert "--at-most: expected --until-decided too" in capsys.readouterr().err
    assert main(["results", str(tmp_path), "--ledger", "/nonexistent"]) == 1


def test_finished_runs_without_test_images_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (run, results):
        monkeypatch.setattr(module, "revision", lambda: "a1")
    recipe = RECIPE.override(["training.test=never", "training.epochs=1"])
    ran = run.run_recipe(recipe, Reporter(), runs=tmp_path)
    options = {"root": None, "device": "cpu"}
    found = results.finished_run(tmp_path, recipe, **options)
    assert found is not None
    assert found["run"] == ran["run"]
    assert results.finished_run(tmp_path, recipe.override(["training.test=end"]), **options) is None
    monkeypatch.setattr(results, "revision", lambda: "b2")
    assert results.finished_run(tmp_path, recipe, **options) is None, "runs of other code are not used"
