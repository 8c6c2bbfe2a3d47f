"""Targets that are numbers: data, headline score, training, and the use of a trained network."""

from __future__ import annotations

import copy
import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

import tinygrad_lab as tgl
from tinygrad_lab.cli import main
from tinygrad_lab.conformance import check_augmentation, check_metric
from tinygrad_lab.conformance.trials.results import NonconformanceError
from tinygrad_lab.data import Compose, Dataset, Loader, Mixup, Normalize, StandardizeTargets, load
from tinygrad_lab.data.sources import Digits
from tinygrad_lab.errors import ConfigError, LabError, OptionError, ShapeError, StateError
from tinygrad_lab.inspect import RegressionReport, plots
from tinygrad_lab.inspect.page import run_page
from tinygrad_lab.losses import huber, mse, softmax_cross_entropy
from tinygrad_lab.optim import SGD
from tinygrad_lab.optim.schedules import ReduceOnPlateau
from tinygrad_lab.registry import Plugin, datasets
from tinygrad_lab.train import Callback, EarlyStopping, Trainer, best_epoch, evaluate, find_recipe, run_recipe, verdict
from tinygrad_lab.train.build import build_trainer
from tinygrad_lab.train.metrics import HEADLINES, Score, mae, r2, rmse, scored
from tinygrad_lab.train.progress import Reporter, describe_epoch
from tinygrad_lab.train.recipe import Recipe
from tinygrad_lab.train.results import gather, judged, page, read_results, read_runs, write_results
from tinygrad_lab.train.tuning import ranking, tune
from tinygrad_lab_layers import Dense

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(60, 4)).astype("float32") * [1, 10, 100, 1] + [0, 5, 2000, 1]
TARGETS = np.stack([ROWS[:, 0] * 30 + ROWS[:, 1], ROWS[:, 2] / 1000], axis=1)
SHORT = ["training.epochs=3", "schedule={name='constant'}"]
R2 = HEADLINES["r2"]


def rows(**options: Any) -> Dataset:
    return Dataset(ROWS.astype("float32"), TARGETS, **{"targets": ["first in m", "second"], "name": "made", **options})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs of the recipe `diabetes`, of two seeds."""
    runs = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        run_recipe(find_recipe("diabetes").override([*SHORT, f"training.seed={seed}"]), Reporter(), runs=runs)
    return runs


def first_of(folder: Path) -> Path:
    return sorted(folder.glob("diabetes-*"))[0]


class TestScores:
    """Metrics as the one place that compares and prints values."""

    @given(st.integers(2, 30), st.integers(1, 4), st.integers(0, 2**32 - 1))
    def test_they_agree_with_scikit_learn(self, count: int, width: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        true, found = rng.normal(3, 2, (count, width)), rng.normal(3, 2, (count, width))
        cases = {r2: r2_score(true, found), mae: mean_absolute_error(true, found)}
        cases[rmse] = math.sqrt(((true - found) ** 2).mean())
        for metric, expected in cases.items():
            score = Score.of(metric.__name__, metric)
            parts = [score.sums(found[:1], true[:1]), score.sums(found[1:], true[1:])]  # of two batches
            assert score.value(parts[0] + parts[1], count) == pytest.approx(expected, rel=1e-9, abs=1e-9)
        assert root_mean_squared_error(true[:, :1], found[:, :1]) == pytest.approx(
            Score.of("rmse", rmse).value(rmse(found[:, :1], true[:, :1]).sum(), count)
        )

    def test_constant_targets(self) -> None:
        true = np.full((3, 1), 0.1)
        assert R2.value(R2.sums(true, true), 3) == 1.0
        assert R2.value(R2.sums(true + 1, true), 3) == 0.0
        assert np.isnan(R2.value(R2.sums(np.nan * true, true), 3))

    def test_classes_are_refused(self) -> None:
        with pytest.raises(ShapeError, match=r"r2: expected outputs and targets of one shape .* not classes"):
            r2(np.zeros((3, 10)), np.zeros(3, int))

    def test_better_is_smaller_for_errors(self) -> None:
        error = Score.of("mae", mae)
        assert (error.best([3.0, 1.0, 1.0, 2.0]), R2.best([0.1, math.nan, 0.3])) == (1, 2)
        assert sorted([0.5, math.nan, 2.0], key=error.rank)[:2] == [0.5, 2.0]

    def test_the_best_epoch_and_early_stopping_ask_the_score(self) -> None:
        history = [{"validation": {"r2": value, "loss": 1 - value}} for value in (-0.5, 0.4, 0.3)]
        assert best_epoch(history, "validation") == 1
        assert EarlyStopping(1).epoch(history) == "no better validation R² than 0.4000 of epoch 2 for 1 epochs"

    def test_a_verdict_on_r2_has_no_binomial_error_and_no_percent(self) -> None:
        found = verdict([0.45, 0.47, 0.46], [-0.40, -0.42, -0.41], images=88, score=R2)
        assert found.better == "first"
        assert "0.8700 higher (95 % interval +0.8203 to +0.9197" in found.text(R2)
        with pytest.raises(OptionError, match="expected values of R² from -inf to 1"):
            verdict([1.5], [0.2], score=R2)


    def test_the_kit_checks_metrics_of_numbers(self) -> None:
        @scored(finish=lambda means: float(means[0]), task="regression")
        def of_the_batch(outputs: Any, targets: Any) -> Any:
            return (outputs - outputs.mean(axis=0)) ** 2

        assert all(check_metric(name, examples=5).passed for name in ("r2", "rmse", "mae"))
        with pytest.raises(NonconformanceError, match="each_alone"):
            check_metric(of_the_batch, examples=5)
        assert check_augmentation("standardize_targets", examples=5).passed


class TestDataset:
    """Float labels are target numbers."""

    def test_targets_are_floats_of_a_shape(self) -> None:
        data = rows()
        assert (data.task, data.outputs, data.labels.dtype, data.labels.shape) == ("regression", 2, np.float32, (60, 2))
        assert repr(data) == "Dataset(made: 60 rows 4 float32, 2 targets (first in m, second))"
        single = Dataset(ROWS.astype("float32"), TARGETS[:, 0])
        assert (single.labels.shape, single.targets, single.classes) == ((60, 1), ("target",), ())

    @pytest.mark.parametrize(
        ("labels", "options", "error"),
        [
            (np.array([1.0, np.nan]), {}, "expected finite targets .* in example 1"),
            (np.array([1.0, 1e300]), {}, "expected finite targets"),
            (np.zeros((2, 2)), {"targets": ["one"]}, "expected a name for each target"),
            (np.zeros((2, 0)), {}, "at least one"),
            (np.zeros(2), {"classes": ["a"]}, r"expected class numbers for the classes \['a'\]"),
            (np.zeros(2, int), {"targets": ["one"]}, "expected targets of floats"),
            (np.zeros((2, 2, 2)), {}, r"or targets \(N, K\)"),
        ],
    )
    def test_bad_targets_are_refused(self, labels: Any, options: dict[str, Any], error: str) -> None:
        with pytest.raises(LabError, match=error):
            Dataset(np.zeros((2, 3), np.float32), labels, **options)

    @given(st.floats(0.01, 0.99), st.integers(0, 100))
    def test_a_split_takes_a_share_of_all(self, fraction: float, seed: int) -> None:
        rest, out = rows().split(fraction, seed=seed)
        assert sorted([*rest.index, *out.index]) == list(range(60))
        assert len(out) == min(math.floor(fraction * 60 + 0.5), 59)
        np.testing.assert_array_equal(out.labels, rows().labels[out.index])

    @pytest.mark.parametrize("call", [lambda d: d.counts(), lambda d: d.limit(3), lambda d: d.keep_classes(["0"])])
    def test_what_needs_classes_says_so(self, call: Any) -> None:
        with pytest.raises(OptionError, match=r"expected data with classes, got 'made' with 2 targets"):
            call(rows())

    def test_the_loader_standardizes_and_the_pipeline_undoes_it(self) -> None:
        data = rows()
        pipeline = Compose([Normalize(), StandardizeTargets()]).fit(data)
        x, y = next(iter(Loader(data, batch_size=60, shuffle=False, augment=pipeline, workers=0)))
        np.testing.assert_allclose([x.mean(0), x.std(0)], [[0] * 4, [1] * 4], atol=1e-4)
        np.testing.assert_allclose([y.mean(0), y.std(0)], [[0] * 2, [1] * 2], atol=1e-4)
        np.testing.assert_allclose(pipeline.in_units(y), data.labels, rtol=1e-5)
        again = Compose.from_config(json.loads(json.dumps(pipeline.config())))
        assert again.in_units(y).tolist() == pipeline.in_units(y).tolist()

    def test_mixup_blends_targets(self) -> None:
        images = np.arange(8, dtype=np.float32).reshape(4, 2, 1, 1)
        data = Dataset(images / 10, images.mean(axis=(1, 2, 3)))
        step = Compose([Mixup(alpha=1.0)]).fit(data)
        mixed, targets = step(data.images, data.labels, rng=np.random.default_rng(0))
        np.testing.assert_allclose(mixed.mean(axis=(1, 2, 3)) * 10, targets[:, 0], rtol=1e-5)
        with pytest.raises(OptionError, match="expected classes None for 'dataset'"):
            Mixup(classes=3).fit(data)

    def test_targets_are_not_standardized_without_targets(self) -> None:
        with pytest.raises(OptionError, match="expected targets that are numbers in 'c', got 1 classes"):
            StandardizeTargets().fit(Dataset(ROWS.astype("float32"), np.zeros(60, int), name="c"))


class Saver(Callback):
    """Keeps the trainer's state after each step."""

    def __init__(self, trainer: Trainer, states: list[Any]) -> None:
        self.trainer, self.states = trainer, states

    def step(self, metrics: Any) -> None:
        self.states.append(copy.deepcopy(self.trainer.state()))


def trainer(data: Dataset | None = None, **options: Any) -> Trainer:
    data = data or rows()
    pipeline = Compose([Normalize(), StandardizeTargets()]).fit(data)
    loaders = [Loader(data, batch_size=16, shuffle=s, augment=pipeline, workers=0) for s in (True, False)]
    model = Dense(4, 2, rng=0)
    optimizer = SGD(model.parameters(), lr=0.1)
    return Trainer(model, options.pop("loss", mse), optimizer, loaders[0], validation=loaders[1], **options)


class TestTraining:
    """The training loop with R² in the place of accuracy."""

    def test_r2_is_reported_and_metrics_are_in_units(self) -> None:
        t = trainer(metrics={"rmse": rmse, "mae": mae})
        t.train(20)
        last = t.history[-1]
        assert "accuracy" not in last
        assert last["r2"] > 0.9
        x, _ = t.batches.augment(rows().images, rows().labels, rng=np.random.default_rng())
        found = t.batches.augment.in_units(t.model(x).numpy())
        assert last["validation"]["r2"] == pytest.approx(r2_score(rows().labels, found), rel=1e-5)
        assert last["validation"]["mae"] == pytest.approx(mean_absolute_error(rows().labels, found), rel=1e-5)
        assert f"R² {last['r2']:.4f}  validation {last['validation']['r2']:.4f}  " in describe_epoch(last, 20)
        result = evaluate(t.model, mse, t.validation)  # type: ignore[arg-type]
        assert result.scores == {"r2": result.score, "loss": result.loss}
        with pytest.raises(AttributeError, match="use r2"):
            _ = result.accuracy

    def test_the_rest_of_an_epoch_is_resumed_bit_for_bit(self) -> None:
        whole, part, states = trainer(), trainer(), []
        whole.train(2)
        part.callbacks.append(Saver(part, states))
        part.train(1)
        resumed = trainer()
        resumed.load_state(states[1])
        resumed.train(2)
        strip = [{k: v for k, v in m.items() if k not in ("seconds", "images_per_second")} for m in resumed.history]
        assert strip == [{k: v for k, v in m.items() if k in strip[0]} for m in whole.history]

    @pytest.mark.parametrize("right", [3.0, [1.0, 2.0], "x"])
    def test_damaged_sums_are_refused(self, right: Any) -> None:
        t, states = trainer(), []
        t.callbacks.append(Saver(t, states))
        t.train(1)
        with pytest.raises(StateError, match="Trainer: sums"):
            trainer().load_state({**states[0], "sums": {**states[0]["sums"], "right": right}})

    def test_a_schedule_observes_the_headline_score(self) -> None:
        schedule = ReduceOnPlateau(mode="max", patience=1)
        t = trainer(schedule=schedule)
        t.train(2)
        assert schedule.best == max(metrics["validation"]["r2"] for metrics in t.history)

    def test_losses_of_the_other_task_are_refused(self) -> None:
        with pytest.raises(OptionError, match=r"expected a loss of numbers for 'made'.*got softmax_cross_entropy"):
            trainer(loss=softmax_cross_entropy)
        model, data = Dense(4, 1, rng=0), Dataset(ROWS.astype("float32"), np.arange(60) % 3, name="c")
        with pytest.raises(OptionError, match=r"labels are the numbers of 3 classes, got huber"):
            Trainer(model, huber, SGD(model.parameters(), lr=0.1), Loader(data))


class TestUse:
    """What one does with a run of the recipe `diabetes`."""

    def test_the_files_of_a_run_name_r2(self, folder: Path) -> None:
        run = first_of(folder)
        result = json.loads((run / "result.json").read_text())
        assert result["figures"]["last"].keys() == {"epoch", "r2", "loss", "mae", "rmse"}
        assert result["training_r2"] == json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["r2"]
        assert (run / "weights-best.safetensors").exists()

    def test_predict_and_evaluate_are_in_units(self, folder: Path) -> None:
        run, test = tgl.load_run(first_of(folder)), load("diabetes", split="test")
        report = run.evaluate()
        assert isinstance(report, RegressionReport)
        figure = json.loads((run.folder / "result.json").read_text())["figures"]["chosen_on_validation"]
        assert report.scores() == {name: pytest.approx(figure[name], rel=1e-6) for name in ("r2", "mae", "rmse")}
        found = run.predict(test.images)
        np.testing.assert_array_equal(found.values, report.estimate.values)
        assert repr(found).startswith(f"progression {found.values[0, 0]:.4g}\nprogression ")
        assert repr(run).endswith("sequential, rows of shape 10, target progression, best weights)")
        assert abs(found.values - test.labels).mean() == pytest.approx(report.mae, rel=1e-5)
        order = report.largest_errors()
        assert (np.diff(abs(report.residuals[order, 0])) <= 0).all()
        with pytest.raises(OptionError, match=r"with the targets \['progression'\], got 'digits' with the classes"):
            run.evaluate("digits")

    def test_commands(self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run, table = str(first_of(folder)), tmp_path / "rows.csv"
        images = load("diabetes", split="test").images[:2]
        lines = [",".join(["title"] * 10), *(",".join(map(repr, row.tolist())) for row in images)]
        table.write_text("\n".join(lines))
        assert main(["predict", run, str(table), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert [one["row"] for one in found] == [f"{table}:2", f"{table}:3"]
        expected = tgl.load_run(run).predict(images).values[:, 0]
        assert [one["targets"]["progression"] for one in found] == expected.tolist()
        assert main(["evaluate", run]) == 0
        assert "progression" in capsys.readouterr().out
        table.write_text("1,2\n")
        assert main(["predict", run, str(table)]) == 1
        assert "rows of 10 features" in capsys.readouterr().err
        assert main(["predict", run, str(table), "--top", "2"]) == 1
        assert "--top: expected a network that predicts classes" in capsys.readouterr().err
        table.write_text("1,x\n")
        assert main(["predict", run, str(table)]) == 1
        assert "line 1: expected numbers with commas" in capsys.readouterr().err
        assert main(["results", str(folder)]) == 0
        assert "R²: best" in capsys.readouterr().out
        assert main(["train", "diabetes", "--dry-run", "--set", "training.epochs=2"]) == 0
        assert "1 target number (progression:" in capsys.readouterr().out

    def test_results_are_values_of_r2(self, folder: Path, tmp_path: Path) -> None:
        (one,) = gather(read_runs(folder))
        assert (one["headline"], one["seeds"], "training_accuracy" in one) == ("r2", [0, 1], False)
        write_results([one], tmp_path)
        (again,) = read_results(tmp_path)
        assert "The figures are values of R², not accuracies." in page([again])
        assert R2.spread(again["last"]) in page([again])
        other = {**one, "settings": {}, "recipe": "diabetes:other"}
        assert judged(one, other) is not None
        assert judged(one, {k: v for k, v in other.items() if k != "headline"}) is None
        curves, comparison = plots.plots([one, other])
        assert curves.text.startswith("R² against epoch")
        assert "values of R²" in comparison.text

    @pytest.mark.slow
    def test_plots_are_drawn(self, folder: Path) -> None:
        (one,) = gather(read_runs(folder))
        made = plots.plots([one, {**one, "recipe": "diabetes:other"}])
        assert plots.draw_plots(made).count(b"<svg ") == 3

    def test_tuning_ranks_by_r2(self, tmp_path: Path) -> None:
        recipe = find_recipe("diabetes").override(SHORT)
        trials = tune(recipe, ["optimizer.lr=1e-6,0.01"], Reporter(), seeds=1, folder=tmp_path)
        assert ranking(trials)[0][0] == ["optimizer.lr=0.01"]
        assert all("r2" in trial for trial in trials)
        again = tune(recipe, ["optimizer.lr=1e-6,0.01"], Reporter(), seeds=1, folder=tmp_path)
        assert ranking(again) == ranking(trials)

    def test_the_page_shows_every_prediction(self, folder: Path, tmp_path: Path) -> None:
        run = tgl.load_run(first_of(folder))
        made, report = run_page(run, mistakes=5, picked=[3]), run.evaluate(split="validation")
        path = tmp_path / "page.html"
        path.write_text(made)
        (text,) = [line for line in made.splitlines() if 'id="data"' in line]
        found = json.loads(text.partition(">")[2].rpartition("</script>")[0])
        np.testing.assert_allclose(found["images"]["predicted"], report.estimate.values, rtol=1e-4)
        assert found["chosen"] == list(dict.fromkeys([3, *report.largest_errors()[:5].tolist()]))
        if (node := shutil.which("node")) is not None:
            script = 'console.log(document.getElementById("numbers-body").textContent)'
            command = [node, str(Path(__file__).parents[1] / "inspect" / "page_in_node.js"), str(path), script]
            shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            assert "Residuals of 71 rows" in shown
            assert "Largest errors" in shown

    def test_misfits_are_told(self, folder: Path) -> None:
        recipe = find_recipe("diabetes")
        wrong = {
            "loss.name=\"softmax_cross_entropy\"": "expected a loss of numbers for 'diabetes'",
            "data.per_class=3": "expected data with classes, got 'diabetes' with target progression",
            'augment=[{name="flip"}]': "expected augmentations of rows, got 'flip'; leave it out",
        }
        for setting, error in wrong.items():
            with pytest.raises(LabError, match=error):
                build_trainer(recipe.override([setting]))
        layers = [{"name": "dense", "in_features": 10, "out_features": 3}]
        tables = {**recipe.tables, "model": {"name": "sequential", "layers": layers}}
        with pytest.raises(ConfigError, match="expected 1 output, one for each target number of 'diabetes', got shape"):
            build_trainer(type(recipe)("wide", tables))
        with pytest.raises(OptionError, match="for regression, got 'top5', which is for classification"):
            build_trainer(recipe.override(['training.metrics=["top5"]']))


def test_images_with_several_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network for images predicts two numbers; pictures are given to `predict`."""
    class Darkness(Digits):
        """How dark the left and the right half of a digit are."""

        name = "acme.darkness"
        image = (8, 8, 1)
        targets = ("left", "right")

        def read(self, split: str, *, root: Any = None, size: Any = None) -> Dataset:
            images = super().read(split, size=(8, 8)).images[:60]
            halves = images.astype("float32").mean(axis=(1, 3)).reshape(-1, 2, 4).mean(axis=2)
            return Dataset(images, halves, targets=self.targets, name=self.name)

    monkeypatch.setitem(datasets.plugins(), Darkness.name, [Plugin(Darkness.name, "made:Darkness", "acme", "1", None)])
    monkeypatch.setitem(datasets._loaded, Darkness.name, Darkness)
    layers = [{"name": "flatten"}, {"name": "dense", "in_features": 64, "out_features": 2}]
    tables = {
        "model": {"name": "sequential", "layers": layers},
        "data": {"name": Darkness.name, "validation": 0.2},
        "augment": [{"name": "normalize"}, {"name": "mixup"}, {"name": "standardize_targets"}],
        "loss": {"name": "huber", "delta": 1.0},
        "optimizer": {"name": "adam", "lr": 0.03},
        "training": {"epochs": 20, "patience": 20},
    }
    run = tgl.load_run(run_recipe(Recipe("darkness", tables), Reporter(), runs=tmp_path)["run"])
    assert run.evaluate(split="train").r2 > 0.5
    picture = tmp_path / "digit.png"
    array = run.data("test").images[0]
    Image.fromarray(array[:, :, 0]).save(picture)
    np.testing.assert_allclose(run.predict([picture]).values, run.predict(array).values, atol=0.5)
    assert main(["predict", str(run.folder), str(picture)]) == 0
    out = capsys.readouterr().out
    assert "left" in out
    assert "digit.png" in out
    made = run_page(run, mistakes=3)
    assert '"planes":null' in made
    assert '"sprite":{' in made
