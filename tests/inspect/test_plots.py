"""Tests of the plots of experiments: what they draw, what they say in words, and the command that writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from tests.train.test_evaluation import made_run
from tinygrad_lab.cli import main
from tinygrad_lab.errors import ConfigError
from tinygrad_lab.inspect.plots import WIDTH, Plot, draw_plots, plots
from tinygrad_lab.train import find_recipe, recipe_names
from tinygrad_lab.train.evaluation import spread
from tinygrad_lab.train.recipe import checked
from tinygrad_lab.train.results import gather, read_results, read_runs, write_results

Capture = pytest.CaptureFixture[str]


def result(name: str, *, accuracies: list[float], **more: Any) -> dict[str, Any]:
    """The result of an experiment with one seed for each accuracy."""
    figure = spread(accuracies)
    base = {"recipe": name, "seeds": list(range(len(accuracies))), "epochs": 3, "last": figure}
    return base | {"training_accuracy": figure, "images_per_second": 1.0, "test_images": 2000} | more


def drawn(plot: Plot) -> Any:
    """The axes of a plot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, plot.height), layout="constrained")
    plot.draw(figure)
    return figure.axes


def line(axes: Any, label: str) -> Any:
    """The line of a label."""
    return next(found for found in axes.get_lines() if str(found.get_label()).startswith(label))


def test_curves_show_the_mean_and_the_deviation_of_each_split_beside_the_published_figure() -> None:
    training, validation = [[0.5, 0.7, 0.9], [0.7, 0.7, 0.7]], [[0.4, 0.6, 0.8], [0.6, 0.6, 0.6]]
    curves = {"training_curves": training, "validation_curves": validation}
    (plot,) = plots([result("resnet20", accuracies=[0.8, 0.9], **curves)])
    axes = drawn(plot)
    assert [one.get_title() for one in axes] == ["training images", "validation images"]
    for panel, rows in zip(axes, (training, validation), strict=True):
        mean, deviation = 100 * np.mean(rows, axis=0), 100 * np.std(rows, axis=0, ddof=1)
        np.testing.assert_allclose(line(panel, "resnet20").get_xydata(), np.column_stack([[1, 2, 3], mean]))
        band = panel.collections[0].get_paths()[0].vertices
        at_first = band[np.isclose(band[:, 0], 1), 1]
        np.testing.assert_allclose([at_first.min(), at_first.max()], [mean[0] - deviation[0], mean[0] + deviation[0]])
    assert set(line(axes[1], "published").get_ydata()) == {91.25}
    assert "from 60.0 to 80.0 (training, 2 seeds), from 50.0 to 70.0 (validation, 2 seeds)" in plot.text
    assert plot.text.endswith("a line at the published 91.25 %")
    assert line(axes[1], "test images, last epoch").get_marker() == "D"
    assert "He et al. 2015" in plot.note


def test_what_has_a_test_curve_has_no_mark_of_its_last_epoch() -> None:
    curves = {"training_curves": [[0.5, 0.7]], "test_curves": [[0.4, 0.6]]}
    tested, older = result("mine", accuracies=[0.6], **curves), result("mine:older", accuracies=[0.5])
    (plot,) = plots([tested])
    assert "Diamond" not in plot.note
    plot, _ = plots([tested, older | {"training_curves": [[0.5, 0.7]]}])
    training, test = drawn(plot)
    assert not training.containers
    ((mark, *_),) = (held.lines for held in test.containers)
    np.testing.assert_allclose(mark.get_xydata(), [[3, 50]])
    assert "mine:older from 50.0 to 70.0 (training, 1 seed)" in plot.text


def test_a_run_that_stopped_early_shortens_the_mean_and_not_the_other_runs() -> None:
    (plot,) = plots([result("mine", accuracies=[0.8, 0.9], training_curves=[[0.2, 0.4, 0.6], [0.4, 0.6]])])
    (axes,) = drawn(plot)
    np.testing.assert_allclose(line(axes, "mine").get_ydata(), [30, 50])
    np.testing.assert_allclose(axes.get_lines()[1].get_xydata(), [[2, 40], [3, 60]])


def test_without_curves_and_variants_there_is_nothing_to_plot() -> None:
    assert plots([result("mine", accuracies=[0.8], training_curves=[[]])]) == []
    with pytest.raises(ConfigError, match="expected runs with metrics"):
        draw_plots([])


def test_bars_show_errors_from_zero_and_verdicts_in_words() -> None:
    one = result("padding_cnn7", accuracies=[0.90, 0.92, 0.91])
    other = result("padding_cnn7:none", accuracies=[0.88, 0.89, 0.885])
    alone = result("padding_cnn7:edge", accuracies=[0.7])
    (plot,) = plots([one, other, alone])
    axes = drawn(plot)[0]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [9, 11.5, 30])
    assert [bar.get_x() for bar in axes.patches] == [0, 0, 0]
    assert axes.get_xlim()[0] == 0
    low, high = axes.containers[0].lines[2][0].get_segments()[0][:, 0]
    np.testing.assert_allclose([low, high], [8, 10])
    assert "padding_cnn7 91.00 ± 1.00; padding_cnn7:none 88.50 ± 0.50, -2.50 (95 %: -" in plot.text
    assert plot.text.endswith("padding_cnn7:edge 70.00, -20.00 (one seed: no interval)")


def test_a_setting_has_a_plot_with_the_published_points() -> None:
    found = [
        result(name, accuracies=accuracies, settings={"model": {"depth": depth, "residual": residual}})
        for name, accuracies, depth, residual in (
            ("residual_depth", [0.85, 0.87], 20, True),
            ("residual_depth:residual32", [0.88], 32, True),
            ("residual_depth:plain20", [0.83], 20, False),
        )
    ]
    plot = plots(found)[-1]
    assert plot.kind == "setting"
    axes = drawn(plot)[0]
    (ours, *_), (plain, *_) = (held.lines for held in axes.containers)
    np.testing.assert_allclose(ours.get_xydata(), [[20, 86], [32, 88]])
    np.testing.assert_allclose(plain.get_xydata(), [[20, 83]])
    theirs = line(axes, "published: residual, He et al. 2015").get_xydata()
    np.testing.assert_allclose(theirs, [[20, 91.25], [32, 92.49], [44, 92.83], [56, 93.03]])
    assert "model.residual: true: 86.00 ± 1.41 at 20, 88.00 at 32; model.residual: false: 83.00 at 20" in plot.text


def test_the_named_settings_exist() -> None:
    for recipe in map(find_recipe, recipe_names()):
        for key in recipe["recipe"].keys() & {"plot_against", "plot_lines"}:
            table, _, option = recipe["recipe"][key].partition(".")
            assert option in recipe[table] if option else table in recipe.tables


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"published_accuracy": 90.1}, "published_accuracy: expected an accuracy from 0 to 1, got 90.1"),
        ({"published_accuracy": "90 %"}, "published_accuracy: expected float, got '90 %'"),
        ({"published_points": {"paper": [[20, 8.75]]}}, r"'paper': expected pairs .*, got \[\[20, 8.75\]\]"),
        ({"published_points": [20]}, r"published_points: expected dict, got \[20\]"),
        ({"plot_against": "modle.depth"}, "plot_against: .*modle"),
    ],
)
def test_what_a_recipe_says_of_plots_is_checked(about: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        checked(find_recipe("lenet5").tables | {"recipe": about}, "mine")


def test_equal_plots_are_equal_files_without_background_and_date() -> None:
    found = [result(f"mine:{n}", accuracies=[0.5, 0.6], training_curves=[[0.1, 0.2]] * 2) for n in range(7)]
    content = draw_plots(plots(found))
    assert content == draw_plots(plots(found))
    assert b"<dc:date>" not in content
    curves, bars = ET.fromstring(content)
    height = float(curves.attrib["height"].removesuffix("pt"))
    assert [part.attrib["y"] for part in (curves, bars)] == ["0.00pt", f"{height:.2f}pt"], "one below the other"


def test_runs_keep_their_curves_of_validation_and_test(tmp_path: Path) -> None:
    for seed, splits in ((0, ("validation", "test")), (1, ("validation",))):
        folder = tmp_path / "runs" / f"run{seed}"
        made_run(folder, recipe="lenet5", seed=seed, accuracy=0.9)
        epochs = [{"accuracy": 0.5, **{split: {"accuracy": 0.1 * (2 + n)} for split in splits}} for n in range(2)]
        (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(epoch)}\n" for epoch in epochs))
    (one,) = gather(read_runs(tmp_path / "runs"))
    assert one["validation_curves"] == [[0.2, pytest.approx(0.3)]] * 2
    assert "test_curves" not in one, "only one of the runs has them"
    write_results([one], tmp_path / "out")
    assert read_results(tmp_path / "out") == [{key: value for key, value in one.items() if key != "runs"}]
    (folder / "metrics.jsonl").write_text('{"accuracy": 0.5, "validation": {"accuracy": 2.0}}')
    with pytest.raises(ConfigError, match="validation: expected an accuracy from 0 to 1, got 2"):
        read_runs(tmp_path / "runs")


@pytest.mark.slow
def test_the_command_draws_finished_runs(tmp_path: Path, capsys: Capture) -> None:
    for seed in (0, 1):
        made_run(tmp_path / "runs" / str(seed), recipe="lenet5", seed=seed, accuracy=0.9)
        (tmp_path / "runs" / str(seed) / "metrics.jsonl").write_text('{"accuracy": 0.5}\n{"accuracy": 0.7}\n')
    for name in ("plot.svg", "plot.PNG"):
        assert main(["results", str(tmp_path / "runs"), "--plot", str(tmp_path / name)]) == 0
        assert capsys.readouterr().out.endswith(f"{tmp_path / name}\n")
    assert (tmp_path / "plot.svg").read_bytes().startswith(b"<?xml")
    with Image.open(tmp_path / "plot.PNG") as picture:
        assert picture.mode == "RGBA"
        assert picture.getpixel((0, 0))[3] == 0, "no background"
    assert main(["results", str(tmp_path / "none"), "--plot", "plot.pdf"]) == 1
    assert "expected a file whose name ends in .svg or .png, got plot.pdf" in capsys.readouterr().err
    assert main(["results", str(tmp_path / "runs"), "--plot", str(tmp_path / "plot.svg" / "deeper.svg")]) == 1
    assert "expected to write" in capsys.readouterr().err
