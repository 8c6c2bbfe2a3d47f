"""The command line: help, unknown names, error messages, and the display of recipes."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from tinygrad_lab.cli import main
from tinygrad_lab.train import find_recipe, recipe_names
from tinygrad_lab.train.recipe import recipe_text

Capture = pytest.CaptureFixture[str]


def test_ctrl_c_during_the_import_of_a_command_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tinygrad_lab.cli.importlib.import_module", interrupted)
    assert main(["train"]) == 130
    assert capsys.readouterr().err == "tinygrad-lab train: stopped\n"


def test_without_a_command_the_help_is_printed(capsys: Capture) -> None:
    assert main([]) == 2
    assert "Train a network by a recipe" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(("name", "hint"), [("trian", "did you mean 'train'?"), ("zzzz", "there are bench, check")])
def test_an_unknown_command(name: str, hint: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([name])
    assert stopped.value.code == 2
    assert f"expected a command, got {name!r}; {hint}" in capsys.readouterr().err


@pytest.mark.parametrize("call", [["draw", "lenet5", "-o", "net.png"], ["bench", "nosuch"], ["results", "nosuch"]])
def test_errors_name_their_command_once(call: list[str], capsys: Capture) -> None:
    assert main(call) == 1
    assert capsys.readouterr().err.startswith(f"tinygrad-lab {call[0]}: expected")


def test_unknown_arguments_are_refused_with_the_usage_of_the_command(capsys: Capture) -> None:
    for call, words in (
        (["train", "--epochs=5"], "unrecognized arguments: --epochs=5; use --set training.epochs=5"),
        (["train", "--lr", "0.1"], "unrecognized arguments: --lr; use --set optimizer.lr="),
        (["train", "lenet5", "epochs=5"], "unrecognized arguments: epochs=5; use --set training.epochs=5"),
        (["train", "lenet5", "model.padding=zero"], "arguments: model.padding=zero; use --set model.padding=zero"),
        (["train", "--nothing"], "unrecognized arguments: --nothing\n"),
        (["summary", "a", "b"], "unrecognized arguments: b\n"),
    ):
        with pytest.raises(SystemExit):
            main(call)
        told = capsys.readouterr().err
        assert words in told
        assert told.startswith(f"usage: tinygrad-lab {call[0]}")


def test_a_setting_in_place_of_the_recipe_is_told_apart(capsys: Capture) -> None:
    assert main(["train", "lr=0.1"]) == 1
    assert capsys.readouterr().err == (
        "tinygrad-lab train: expected a recipe, got 'lr=0.1'; use --set optimizer.lr=0.1\n"
    )


def test_a_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("TINYGRAD_LAB_LEARN", str(tmp_path))
    assert main(["learn", "check", "2", "nofile.py"]) == 1
    assert "expected your file, or its folder, got nofile.py, which does not exist" in capsys.readouterr().err


def test_a_missing_data_folder_is_named(tmp_path: Path, capsys: Capture) -> None:
    assert main(["data", "list", "--data", str(tmp_path / "none")]) == 0
    assert f"the folder {tmp_path / 'none'} does not exist" in capsys.readouterr().err


def test_a_recipe_is_printed_as_its_file(capsys: Capture) -> None:
    assert main(["recipes", "alexnet_small"]) == 0
    assert tomllib.loads(capsys.readouterr().out) == find_recipe("alexnet_small").tables


def test_a_printed_recipe_marks_the_origin_of_each_setting(capsys: Capture) -> None:
    assert main(["recipes", "alexnet_small"]) == 0
    shown = capsys.readouterr().out
    assert "lr = 0.1024  # inferred\n" in shown
    assert "batch_size = 512  # stated\n" in shown
    for name in recipe_names():
        assert main(["recipes", name]) == 0
        shown = capsys.readouterr().out
        assert tomllib.loads(shown) == find_recipe(name).tables
        settings = shown.partition("[model]")[2].splitlines()
        assert all(line.endswith(("# stated", "# inferred", "# ours")) for line in settings if " = " in line)


def test_a_recipe_file_of_the_user_is_printed_too(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(recipe_text("resnet20"), encoding="utf-8")
    assert main(["recipes", f"{path}:short"]) == 0
    assert "lr = 0.1  # stated\n" in capsys.readouterr().out
    assert main(["recipes", str(tmp_path / "none.toml")]) == 1
    assert "none.toml, found none" in capsys.readouterr().err


def test_a_variant_is_printed_without_the_others(capsys: Capture) -> None:
    assert main(["recipes", "ablations_ten_layer:matched"]) == 0
    shown = capsys.readouterr().out
    assert '"model.widths" = [80, 160, 320]  # ours\n' in shown
    assert list(tomllib.loads(shown)["variants"]) == ["matched"]
    assert main(["recipes", "resnet20:medium"]) == 0
    shown = capsys.readouterr().out
    assert "reflected borders.\n[variants.medium]" in shown, "a comment is printed before its table"
    assert "forty epochs" not in shown, "comments of other variants are left out"
    assert main(["recipes", "ablations_ten_layer:mached"]) == 1
    assert "did you mean 'matched'?" in capsys.readouterr().err


def test_a_misspelled_group_of_entry_points_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    info = tmp_path / "acme_se-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-se\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tinygrad_lab.layer]\nacme.se = acme_se:Se\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["layers"]) == 0
    told = capsys.readouterr().err
    assert (
        "acme-se registers 'acme.se' in the unknown group 'tinygrad_lab.layer'; did you mean 'tinygrad_lab.layers'"
        in told
    )


def test_weights_are_listed_in_natural_order(tmp_path: Path, capsys: Capture) -> None:
    names = ["10.bias", "2.fc.weight", "2.fc.bias", "output.bias"]
    np.savez(tmp_path / "w.npz", **{name: np.zeros(1) for name in names})
    assert main(["weights", "show", str(tmp_path / "w.npz")]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()[:4]]
    assert listed == ["2.fc.bias", "2.fc.weight", "10.bias", "output.bias"]


def test_shells_complete_commands_and_options(capsys: Capture) -> None:
    pytest.importorskip("shtab", reason="pip install -e '.[completion]'")
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    syntax = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (syntax.returncode, syntax.stderr) == (0, "")
    ask = 'COMP_WORDS=(tinygrad-lab train --dr); COMP_CWORD=2; _shtab_tinygrad_lab; echo "${COMPREPLY[@]}"'
    done = subprocess.run(["bash"], input=f"{script}\n{ask}\n", text=True, capture_output=True, check=False)
    assert done.stdout.split() == ["--dry-run"]


def test_completion_without_its_package(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "zsh"]) == 1
    assert "pip install 'tinygrad-lab[completion]'" in capsys.readouterr().err
