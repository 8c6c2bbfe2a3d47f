"""Published weights are found, checked and right. The files are not part of the project."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinygrad_lab.errors import OptionError, StateError
from tinygrad_lab.registry import models
from tinygrad_lab.zoo import pretrained
from tinygrad_lab.zoo.pretrained import FOLDER, PRETRAINED, digest_of, load_pretrained

ABOUT = PRETRAINED["resnet20_cifar10"]


def made(folder: Path) -> Path:
    """Write a file with the names and shapes of the published one and other numbers."""
    model, arrays = models[ABOUT.model](**ABOUT.options, rng=3), {}
    for path, array in model.state().items():
        name = path.replace("inner.", "").replace("stage", "layer").replace("output", "linear")
        name = name.replace("norm", "bn").replace("scale", "weight").replace("shift", "bias")
        name = {"conv": "conv1", "bn": "bn1"}.get(name.split(".")[0], name.split(".")[0]) + "." + name.split(".", 1)[1]
        arrays[name] = array.transpose({4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[array.ndim])
    np.savez(folder / ABOUT.file, **{name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return folder / ABOUT.file


def test_the_rules_cover_every_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path)
    monkeypatch.setitem(pretrained.PRETRAINED, "resnet20_cifar10", replace(ABOUT, digest=digest_of(path)[:16]))
    monkeypatch.setenv(FOLDER, str(tmp_path))
    model = load_pretrained("resnet20_cifar10")
    assert not any(layer.training for layer in model.layers().values())
    expected = models[ABOUT.model](**ABOUT.options, rng=3).state()
    assert all(np.array_equal(array, expected[name]) for name, array in model.state().items())


def test_weights_that_are_not_the_published_ones_are_refused(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(StateError, match="expected arrays with digest"):
        load_pretrained("resnet20_cifar10", folder=tmp_path)


def test_the_digest_depends_on_the_arrays_and_not_on_the_file(tmp_path: Path) -> None:
    arrays = {"a": np.arange(3.0), "b": np.zeros((2, 2))}
    np.savez(tmp_path / "one.npz", **arrays)
    np.savez_compressed(tmp_path / "two.npz", **dict(reversed(arrays.items())))
    np.savez(tmp_path / "three.npz", **{**arrays, "a": np.arange(3.0) + 1})
    one, two, three = (digest_of(tmp_path / f"{name}.npz") for name in ("one", "two", "three"))
    assert one == two != three


def test_a_missing_folder_or_name_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    with pytest.raises(StateError, match=rf"folder=.* or in the environment variable {FOLDER}.*github"):
        load_pretrained("resnet20_cifar10")
    with pytest.raises(OptionError, match="resnet20_cifar10"):
        load_pretrained("resnet20_cifar")


def test_the_published_network_gives_the_published_logits() -> None:
    """This needs the published file, logits that PyTorch computed, and CIFAR-10 in TINYGRAD_LAB_DATA."""
    if FOLDER not in os.environ:
        pytest.skip(f"set {FOLDER} to the folder of {ABOUT.file}")
    expected = Path(os.environ[FOLDER]) / "resnet20-12fca82f.expected.npz"
    batches = Path(os.environ.get("TINYGRAD_LAB_DATA", "")) / "cifar-10-batches-py" / "test_batch"
    if not (expected.exists() and batches.exists()):
        pytest.skip(f"needs {expected.name} in {FOLDER} and CIFAR-10 in TINYGRAD_LAB_DATA")
    from tinygrad_lab.data import load

    images = load("cifar10", split="test").images[:16] / np.float32(255)
    x = ((images - np.array(ABOUT.mean)) / np.array(ABOUT.std)).astype("float32")
    with np.load(expected) as file:
        wanted = file["logits_first_16_test_images"]
    np.testing.assert_allclose(load_pretrained("resnet20_cifar10")(x).numpy(), wanted, rtol=0, atol=1e-4)
