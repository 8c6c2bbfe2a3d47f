"""Results of full runs, which are read from files or reported as missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinygrad_lab.errors import ConfigError
from tinygrad_lab.inspect import results, summarize_model
from tinygrad_lab.tables import html_table


def test_results_are_shown_and_missing_ones_are_named(tmp_path: Path) -> None:
    figure = {"mean": 0.9010, "std": 0.0021, "values": [0.9, 0.902]}
    run = {"recipe": "ten_layer", "published": "0.9010 & more", "seeds": [0, 1], "epochs": 30, "last": figure}
    run |= {"training_accuracy": figure, "images_per_second": 500.0}
    (tmp_path / "experiments").mkdir()
    path = tmp_path / "experiments" / "ten_layer.json"
    best = {"mean": 0.91, "std": 0.0, "values": [0.91, 0.91]}
    path.write_text(json.dumps(run | {"best_on_test": best}), encoding="utf-8")
    (tmp_path / "other.json").write_text('{"command": "something else"}', encoding="utf-8")
    found = results("ten_layer", "padding_cnn7:edge", "vgg_small", folder=tmp_path)
    _, row, *notes = str(found).splitlines()
    assert row.split() == ["ten_layer", "30", "×", "2", "-", "90.10", "±", "0.21", "91.00", "±", "0.00"]
    assert notes == [
        "Published: 0.9010 & more.",
        "Not yet run in full: tinygrad-lab train padding_cnn7:edge, vgg_small",
    ]
    html = found._repr_html_()
    assert "0.9010 &amp; more" in html
    assert "<p>Not yet run in full: tinygrad-lab train padding_cnn7:edge, vgg_small</p>" in html


def test_a_variant_that_diverges_is_not_reported_as_missing(tmp_path: Path) -> None:
    assert str(results("initial_scale:0.1", "vgg_small", folder=tmp_path)).splitlines() == [
        "Stopped because the loss became infinite or NaN: initial_scale:0.1.",
        "Not yet run in full: tinygrad-lab train vgg_small",
    ]


@pytest.mark.parametrize("name", ["ten_layers", "augmentation:quarters"])
def test_a_misspelled_recipe_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        results("lenet5", name, folder=tmp_path)


def test_files_of_the_results_command_are_read(tmp_path: Path) -> None:
    from tinygrad_lab.train.results import write_results

    figure = {"mean": 0.5, "std": 0.0, "values": [0.5]}
    run = {"recipe": "padding_cnn7:edge", "seeds": [0], "epochs": 3, "images_per_second": 1.0, "settings": {}}
    figures = dict.fromkeys(("best_on_test", "last", "chosen_on_validation", "training_accuracy"), figure)
    write_results([run | figures], tmp_path / "experiments")
    assert str(results("padding_cnn7:edge", folder=tmp_path)).splitlines()[1].count("50.00") == 3


def test_without_the_folder_there_is_no_table(tmp_path: Path) -> None:
    assert "<table" not in results("lenet5", folder=tmp_path / "missing")._repr_html_()


def test_without_the_folder_it_says_where_results_are(tmp_path: Path) -> None:
    found = results("lenet5", "nin", folder=tmp_path / "missing")
    assert str(found) == (
        "No results here: those of lenet5, nin are in docs/results of the repository, which an installed package "
        f"does not have; expected a folder {tmp_path / 'missing'}"
    )
    assert "Not yet" not in found._repr_html_()


def test_tables_escape_text_and_align_numbers_right() -> None:
    table = html_table(["name", "size"], [["<a>", "1"]], numbers=(1,))
    assert "&lt;a&gt;" in table
    assert table.count("text-align: right") == 2


def test_a_summary_is_a_table_in_a_notebook() -> None:
    table = summarize_model("lenet5")._repr_html_()
    assert "28×28×6" in table
    assert "61,706" in table
