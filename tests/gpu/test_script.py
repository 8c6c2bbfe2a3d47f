"""The parts of tests/gpu/run_all.sh that need no GPU: data in pieces, entry points, ratios, a rehearsal."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.gpu.entry_points import write
from tests.gpu.figures import ROOT, call, ratios
from tests.gpu.pieces import pack, reading, unpack
from tinygrad_lab.data import Dataset, load


def made(count: int, seed: int) -> Dataset:
    rng = np.random.default_rng(seed)
    names = tuple("abcdefghij")
    return Dataset(rng.integers(0, 256, (count, 32, 32, 3), np.uint8), np.arange(count) % 10, classes=names)


def test_all_pieces_are_the_data_set_and_some_are_a_part(tmp_path: Path) -> None:
    data = {"train": made(53, 0), "test": made(20, 1)}
    paths = pack(data, tmp_path, pieces=3)
    whole = unpack(tmp_path, "train")
    order = np.argsort([i for piece in range(3) for i in range(piece, 53, 3)])
    np.testing.assert_array_equal(whole.images[order], data["train"].images)
    np.testing.assert_array_equal(whole.labels[order], data["train"].labels)
    paths[0].unlink()
    with reading(tmp_path):
        assert len(load("cifar10", split="train")) == 18 + 17
        assert len(load("cifar10", split="test")) == 7 + 6
        assert len(load("digits", split="test")) > 300, "other data sets are read as usual"
    assert len(unpack(tmp_path, "test").labels) == 13
    with pytest.raises(FileNotFoundError, match="cifar10-"):
        unpack(tmp_path / "nowhere", "train")


def test_a_part_of_the_images_can_be_packed(tmp_path: Path) -> None:
    pack({"train": made(50, 0), "test": made(20, 1)}, tmp_path, pieces=2, images=30)
    assert len(unpack(tmp_path, "train")) == 30
    assert len(unpack(tmp_path, "test")) == 20


def test_entry_points_are_written_as_an_installer_writes_them(tmp_path: Path) -> None:
    found = importlib.metadata.PathDistribution(write(tmp_path))
    ours = {(e.group, e.name, e.value) for e in found.entry_points}
    installed = {(e.group, e.name, e.value) for e in importlib.metadata.distribution("tinygrad-lab").entry_points}
    assert {group for group, _, _ in ours} == {group for group, _, _ in installed}
    assert ("tinygrad_lab.layers", "relu", "tinygrad_lab_layers.relu:ReLU") in ours
    assert found.metadata["Name"] == "tinygrad-lab"


def test_ratios_compare_the_same_work() -> None:
    def measured(framework: str, precision: str, seconds: float, **more: object) -> dict[str, object]:
        common = {"network": "n", "batch": 1, "framework": framework, "precision": precision}
        return {**common, "seconds_a_step": seconds, **more}

    rows = [
        measured("torch", "tf32", 2.0),
        measured("tinygrad_lab", "tf32", 1.0),
        measured("tinygrad_lab", "tf32", 0.5, capture=True),
        measured("torch", "bf16", 3.0),
        measured("tinygrad_lab", "float16", 1.5),
        {"network": "m", "batch": 1, "framework": "tinygrad_lab", "precision": "tf32", "error": "not done"},
    ]
    assert ratios(rows) == {"n, batch 1, tf32": 2.0, "n, batch 1, tf32, captured": 4.0, "n, batch 1, float16": 2.0}


def test_a_part_that_takes_too_long_ends_with_its_child_processes() -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)"
    )
    found = call(["-c", code], 2.0)
    assert found["error"] == "not done in 2 s"
    child = Path(f"/proc/{found['tail'].strip()}/stat")
    for _ in range(50):  # until it is gone or a zombie
        if not child.exists() or child.read_text().split()[2] == "Z":
            break
        time.sleep(0.1)
    else:
        pytest.fail("a child process is still running")


def test_a_failed_part_returns_its_status_and_output() -> None:
    assert call(["-c", "print('begun'); raise SystemExit(3)"], 20.0)["status"] == 3
    assert "begun" in call(["-c", "print('begun'); raise SystemExit(3)"], 20.0)["tail"]
    assert call(["-c", "print('{\"a\": 1}'); print('a warning')"], 20.0)["a"] == 1


@pytest.mark.slow
def test_a_rehearsal_runs_all_parts(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    command = [sys.executable, "-m", "tests.gpu.figures", "--out", str(tmp_path), "--rehearse"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found.keys() == {"machine", "tests", "kit", "lenet5", "bench", "ten_layer"}
    assert found["tests"]["passed"], found["tests"]
    assert found["kit"]["failed"] == []
    assert found["kit"]["complete"]
    assert found["lenet5"]["cpu"]["epochs"] == 1
    assert list(found["bench"]["ratios"]) == ["ten_layer, batch 2, float32"]
    ours, theirs = (m["parameters"] for m in found["bench"]["measured"])
    assert ours == theirs
