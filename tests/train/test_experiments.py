"""Every experiment takes its first step: network, data, augmentation, loss, optimizer and schedule fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_lab.data import Dataset
from tinygrad_lab.registry import models
from tinygrad_lab.train import build as module
from tinygrad_lab.train import find_recipe, recipe_names
from tinygrad_lab.train.build import build_trainer
from tinygrad_lab.weights import save_weights

IMAGES = {"cifar10": (32, 32, 3), "digits": (32, 32, 1), "mnist": (28, 28, 1), "fashion_mnist": (28, 28, 1)}
EXPERIMENTS = [full for name in recipe_names() for full in (name, *(f"{name}:{v}" for v in find_recipe(name).variants))]


def made(name: str, *, classes: Any = range(10), size: Any = None, **_: Any) -> Dataset:
    """Return images of noise in the shape of the data set, one for each class but at least 8, or sequences, or rows."""
    if name == "diabetes":
        rng = np.random.default_rng(0)
        return Dataset(rng.normal(size=(8, 10)).astype("float32"), rng.normal(size=8), name=name)
    if name == "digit_sequences":
        sequences = np.random.default_rng(0).integers(0, 65, (len(classes), 32))
        return Dataset(sequences, np.arange(len(classes)), name=name)
    height, width, channels = IMAGES[name]
    height, width = size or (height, width)
    labels = np.arange(max(8, len(classes))) % len(classes)  # 8: a training in blocks needs an image for each
    images = np.random.default_rng(0).integers(0, 256, (len(labels), height, width, channels)).astype("uint8")
    return Dataset(images, labels, name=name)


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write weights like those of the recipe `eight_classes`."""
    path, recipe = tmp_path_factory.mktemp("weights") / "eight.safetensors", find_recipe("eight_classes")
    save_weights(models[recipe["model"]["name"]](**recipe.options("model"), rng=1), path)
    return path


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_takes_a_step(name: str, eight: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load", made)
    recipe = find_recipe(name)
    if recipe["transfer"]:
        recipe = recipe.override([f"transfer.weights='{eight}'"])
    trainer = build_trainer(recipe)
    before = trainer.model.state()
    learning = [path for path, parameter in trainer.model.parameters().items() if parameter.node is not None]
    with np.errstate(all="ignore"):  # one experiment has far too large initial weights
        metrics = trainer.train_epoch()
    assert np.isfinite(metrics["loss"])
    assert ("test" in metrics) == (recipe["training"].get("test") == "epoch")
    assert trainer.headline.name in (metrics if trainer.validation is None else metrics["validation"])
    changed = {path for path, array in trainer.model.state().items() if not np.array_equal(array, before[path])}
    assert changed & set(learning)
    assert not changed & (set(trainer.model.parameters()) - set(learning)), "frozen variables do not change"
