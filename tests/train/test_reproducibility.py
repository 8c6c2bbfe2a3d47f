"""The same seed gives the same bits for any number of threads and workers, and after interruptions and kills."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import tinygrad_lab as tgl
from tinygrad_lab.data import ChannelShift, Compose, Dataset, Flip, Loader, Mixup, RandomCrop, Rotation
from tinygrad_lab.kernels import using_threads
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.optim import SGD, Adam
from tinygrad_lab.optim.schedules import CosineDecay, ReduceOnPlateau, WarmUp
from tinygrad_lab.registry import models
from tinygrad_lab.train import Callback, Trainer
from tinygrad_lab.train.checkpoint import load, save
from tinygrad_lab_layers import BatchNorm, Conv2d, Dense, Dropout, Flatten

NETWORKS = {  # together: tiles, fused ReLU, batch and local response normalization, dropout, and branches
    "alexnet_small": {"classes": 10},
    "resnet_cifar": {"depth": 8},
    "cuda_convnet": {},
    "vgg_small": {},
    "ten_layer": {"widths": [16, 24, 32]},
    "inception_small": {},
}


def trained(name: str, *, threads: int, workers: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 256, (96, 32, 32, 3)).astype(np.uint8), np.arange(96) % 10, name="made")
    augment = Compose([Flip(), RandomCrop(padding=4), Rotation(degrees=10)])
    with using_threads(threads):
        model = models[name](rng=0, **NETWORKS[name])
        model.seed = 0
        batches = Loader(data, batch_size=32, seed=0, augment=augment, workers=workers)
        optimizer = SGD(model.parameters(), lr=0.01, momentum=0.9)
        Trainer(model, softmax_cross_entropy, optimizer, batches).train_epoch()
    return {path: np.asarray(value) for path, value in model.state().items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_results_do_not_depend_on_the_number_of_threads(name: str) -> None:
    alone = trained(name, threads=1, workers=0)
    for threads, workers in ((2, 1), (5, 3)):
        together = trained(name, threads=threads, workers=workers)
        assert all(np.array_equal(alone[path], together[path]) for path in alone), (threads, workers)


EPOCHS = 3


def with_everything(workers: int) -> Trainer:
    """Return a trainer whose parts have a state or draw random numbers.

    An epoch has five batches. An update takes two of them, and the last one of an epoch takes one.
    """
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 256, (18, 4, 4, 1)).astype(np.uint8), np.arange(18) % 3, name="made")
    layers = {
        "conv": Conv2d(1, 4, kernel_size=3, padding=1, rng=0),
        "norm": BatchNorm(4),
        "flatten": Flatten(),
        "dropout": Dropout(0.5),
        "output": Dense(64, 3, rng=1),
    }
    model = tgl.Sequential(layers)
    model.seed = 7
    augment = Compose([Flip(), RandomCrop(padding=1), ChannelShift(), Mixup(classes=3)])
    return Trainer(
        model,
        softmax_cross_entropy,
        Adam(model.parameters(), lr=0.05),
        Loader(data, batch_size=4, seed=0, augment=augment, workers=workers),
        validation=Loader(data, batch_size=9, shuffle=False, workers=0),
        schedule=WarmUp(length=1, after=ReduceOnPlateau(patience=0)) * CosineDecay(length=EPOCHS),
        accumulate=2,
    )


class Saves(Callback):
    """Saves the trainer's state after every update and every epoch."""

    def __init__(self, trainer: Trainer, folder: Path) -> None:
        self.trainer, self.folder, self.saved = trainer, folder, 0

    def step(self, metrics: dict[str, Any]) -> None:
        save(self.folder / str(self.saved), self.trainer.state())
        self.saved += 1

    def epoch(self, history: Any) -> None:
        self.step({})


def test_training_resumes_bit_for_bit_from_any_step(tmp_path: Path) -> None:
    """The file restores weights, moments, statistics, schedule, random numbers and the loader's position."""
    whole = with_everything(workers=2)
    saves = Saves(whole, tmp_path)
    whole.callbacks.append(saves)
    whole.train(EPOCHS)
    assert saves.saved == EPOCHS * (3 + 1)
    expected = [{k: v for k, v in m.items() if "second" not in k} for m in whole.history]
    for number in range(saves.saved):
        other = with_everything(workers=number % 3)
        other.load_state(load(tmp_path / str(number)))
        other.train(EPOCHS)
        assert [{k: v for k, v in m.items() if "second" not in k} for m in other.history] == expected
        for part in ("model", "optimizer"):
            assert_same(other.state()[part], whole.state()[part])


def assert_same(one: Any, other: Any) -> None:
    """Assert that trees of arrays and numbers are equal."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert_same(value, other[key])
    else:
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_training_that_is_killed_repeatedly_ends_with_the_same_bits(tmp_path: Path) -> None:
    settings = ["training.epochs=6", "data.per_class=30"]
    command = [sys.executable, "-m", "tinygrad_lab", "train"]
    begin = [*command, "lenet5", *(part for setting in settings for part in ("--set", setting)), "--runs"]
    subprocess.run([*begin, str(tmp_path / "whole")], check=True, capture_output=True)
    (whole,) = (tmp_path / "whole").iterdir()
    (tmp_path / "parts").mkdir()
    moments, kills, call = random.Random(0), 0, [*begin, str(tmp_path / "parts")]
    while True:
        with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            if any(line.startswith("epoch") for line in process.stdout):  # so that every process makes progress
                time.sleep(moments.uniform(0.0, 0.1))
            process.kill()
        if process.returncode == 0:
            break
        assert process.returncode == -9
        kills += 1
        (folder,) = (tmp_path / "parts").iterdir()
        call = [*command, "--resume", str(folder)]
    assert kills >= 2
    one, other = (load_file(run / "weights.safetensors") for run in (whole, folder))
    assert all(np.array_equal(one[path], other[path]) for path in one)
    curves = [(run / "metrics.jsonl").read_text().splitlines() for run in (whole, folder)]
    losses = [[json.loads(line)["loss"] for line in curve] for curve in curves]
    assert losses[0] == losses[1]
