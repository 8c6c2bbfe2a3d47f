"""Outputs that cannot be written, and terminals that lack characters: one line of error, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.train.test_run import ONE_EPOCH
from tinygrad_lab import registry
from tinygrad_lab.cli import main

Capture = pytest.CaptureFixture[str]


def fresh(*arguments: str, stdout: int = subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command line in a process of its own."""
    command, variables = [sys.executable, "-m", "tinygrad_lab", *arguments], {**os.environ, **environment}
    return subprocess.run(command, env=variables, stdout=stdout, stderr=subprocess.PIPE, timeout=300)


@pytest.mark.parametrize("where", ["file", "file/deeper", "none\x01/" + "x" * 300, "/proc/x", "/dev/null"])
@pytest.mark.parametrize(
    "call",
    [
        ["new-layer", "acme.swish", "OUT"],
        ["new-plugin", "--kind", "model", "acme.net", "OUT"],
        ["learn", "start", "1", "OUT"],
        ["learn", "start", "plugin", "OUT"],
        ["results", "RUNS", "--write", "OUT"],
        ["draw", "lenet5", "-o", "OUT/net.svg"],
        ["weights", "import", "lenet5", "WEIGHTS", "OUT/net.safetensors"],
        [*ONE_EPOCH, "--runs", "OUT"],
        ["train", "--resume", "OUT"],
        ["recipes", "OUT/mine.toml"],
        ["data", "verify", "digits", "--data", "OUT"],
        ["bench", "OUT"],
    ],
    ids=lambda call: "-".join(call[:2]),
)
def test_an_unwritable_output_path_is_named(call: list[str], where: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").write_text("a file")
    runs, weights = tmp_path / "runs", tmp_path / "w.safetensors"
    if call[0] == "results":
        main([*ONE_EPOCH, "--runs", str(runs)])
    if call[0] == "weights":
        save_file(registry.models["lenet5"](rng=0).state(), weights)
    names = {"OUT": str(tmp_path / where), "RUNS": str(runs), "WEIGHTS": str(weights)}
    filled = [next((word.replace(key, names[key]) for key in names if key in word), word) for word in call]
    capsys.readouterr()
    status = main(filled)
    message = capsys.readouterr().err
    if call[0] != "data":
        assert status == 1
        assert message.count("\n") == 1
        assert message.startswith(f"tinygrad-lab {call[0]}: ")


@pytest.mark.slow
@pytest.mark.parametrize("where", ["file/card.html", "/proc/card.html", "x" * 300])
def test_an_unwritable_html_path_is_named(where: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").write_text("a file")
    assert main(["check", "relu", "--examples", "1", "--html", str(tmp_path / where)]) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert message.startswith(f"tinygrad-lab check: --html: expected to write {tmp_path / where}, got ")


def test_writing_to_a_device_does_not_replace_it(tmp_path: Path) -> None:
    assert main(["check", "relu", "--examples", "1", "--html", os.devnull]) == 0
    assert Path(os.devnull).is_char_device()


def test_writing_to_a_link_writes_its_target(tmp_path: Path) -> None:
    (tmp_path / "link.svg").symlink_to(tmp_path / "net.svg")
    assert main(["draw", "lenet5", "-o", str(tmp_path / "link.svg")]) == 0
    assert (tmp_path / "link.svg").is_symlink()
    assert (tmp_path / "net.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(["check", "relu", "--examples", "1"], marks=pytest.mark.slow),
        *(["learn"], ["recipes"]),
        pytest.param(["summary", "lenet5"], marks=pytest.mark.slow),
    ],
)
def test_output_to_an_ascii_terminal(call: list[str]) -> None:
    done = fresh(*call, PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
@pytest.mark.parametrize("call", [["recipes"], ["layers", "--json"], ["data", "list"]])
def test_output_to_a_full_disk(call: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = fresh(*call, stdout=full.fileno())
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"No space left on device" in done.stderr


def test_names_are_not_read_as_markup(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    digits = registry.datasets["digits"]
    monkeypatch.setattr(digits, "title", "[/][red]x[/red]")
    assert main(["data", "list"]) == 0
    assert "[/][red]x[/red]" in capsys.readouterr().out


def test_insufficient_memory_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr("tinygrad_lab.train.recipe.recipe_names", lambda: np.empty(2**60, np.float32))
    assert main(["recipes"]) == 1
    assert "this machine has too little memory: Unable to allocate" in capsys.readouterr().err
