"""LeNet-5 made of answers to exercises: it equals the engine's network, and a wrong answer is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab.cli import main
from tinygrad_lab.learn.capstone import PIECES, RATE, LeNet, collect, digits, references, train
from tinygrad_lab.learn.catalog import find_exercise
from tinygrad_lab.learn.progress import load_progress
from tinygrad_lab.learn.workspace import default_folder
from tinygrad_lab.losses import softmax_cross_entropy


@pytest.fixture(scope="module")
def pieces() -> dict[str, Any]:
    return references()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and no progress yet."""
    monkeypatch.setenv("TINYGRAD_LAB_LEARN", str(tmp_path / "progress"))
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    return tmp_path / "desk"


def by_engine(p: Any, x: Any, labels: Any) -> Any:
    """Return the loss of LeNet-5 in operations of the engine."""
    for path in ("c1", "c3"):
        x = tgl.relu(tgl.conv2d(x, p[f"{path}.weight"], p[f"{path}.bias"]))
        x = tgl.max(tgl.reshape(x, shape=(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, x.shape[3])), axis=(2, 4))
    x = tgl.reshape(x, shape=(len(x), -1))
    for path in ("f5", "f6", "output"):
        x = x @ p[f"{path}.weight"] + p[f"{path}.bias"]
        x = x if path == "output" else tgl.relu(x)
    return softmax_cross_entropy(x, labels)


def test_a_step_is_that_of_the_engine(pieces: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.random((3, 32, 32, 1)).astype("float32"), np.array([3, 1, 4])
    network = LeNet(pieces)
    before = {path: p.numpy() for path, p in network.parameters.items()}
    expected, gradients = tgl.value_and_grad(by_engine)(before, x, labels)
    assert network.step(x, labels) == pytest.approx(float(expected), rel=1e-5)
    for path, p in network.parameters.items():
        np.testing.assert_allclose(p.numpy(), before[path] - RATE * gradients[path], atol=1e-6, err_msg=path)


@pytest.mark.slow
def test_training_learns_a_few_images(pieces: dict[str, Any]) -> None:
    losses: list[float] = []
    data = digits(per_class=2)
    accuracy = train(pieces, data, 5, lambda epoch, loss, accuracy: losses.append(loss))
    assert 0 <= accuracy <= 1
    assert losses[-1] < losses[0]


def test_without_answers_all_pieces_are_references(desk: Path) -> None:
    found = list(collect(load_progress(), 60.0))
    assert [piece.exercise.name for piece in found] == list(PIECES)
    assert {piece.state for piece in found} == {"missing"}


@pytest.mark.slow
def test_answers_are_used_and_a_wrong_one_is_named(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    right, wrong, open_ = find_exercise("matmul"), find_exercise("cross_entropy"), find_exercise("conv2d")
    mistake = wrong.mistakes[0]
    for exercise, files in ((right, right.solution), (wrong, wrong.wrong(mistake)), (open_, open_.with_holes)):
        folder = desk / default_folder(exercise)
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
    assert main(["learn", "run", "--epochs", "1", "--per-class", "2"]) == 1
    shown = capsys.readouterr().out
    assert f"{right.title}: ✓ yours" in shown
    assert f"{wrong.title}: ✗ wrong, so the reference stands in" in shown
    assert mistake.says in " ".join(shown.split())
    assert f"{open_.title}: · reference" in shown
    assert f"1 of {len(PIECES)} pieces are yours" in shown
    assert "test accuracy" in shown


@pytest.mark.parametrize("option", ["--epochs", "--per-class"])
def test_numbers_below_one_are_refused(desk: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "run", option, "0"]) == 1
    assert f"expected {option} of at least 1, got 0" in capsys.readouterr().err
