"""Training on the strict device: the same weights as with NumPy, and no hidden transfer in a step."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.strict_device import STRICT, StrictArray, to_host, transfers
from tinygrad_lab.data import Compose, Cutout, Dataset, Flip, Loader, Mixup, PCAColor, Rotation
from tinygrad_lab.data.augment import Augmentation, Brightness, ChannelShift, Contrast, Normalize, RandomCrop, Shift
from tinygrad_lab.errors import NonFiniteError
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.optim import SGD
from tinygrad_lab.train import Callback, Trainer, find_recipe, run_recipe
from tinygrad_lab.train.checkpoint import CheckpointFolder
from tinygrad_lab.train.progress import Reporter
from tinygrad_lab_layers import BatchNorm, Conv2d, Dense, Dropout, Flatten, MaxPool2d


def images(count: int = 48) -> Dataset:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 4
    pixels = rng.integers(0, 60, (count, 8, 8, 3)).astype(np.uint8)
    pixels[np.arange(count), labels] += 150
    return Dataset(pixels, labels, name="stripes")


def network() -> tgl.Sequential:
    rng = tgl.initializers.as_rng(0)
    layers: dict[str, tgl.Layer] = {
        "conv": Conv2d(3, 4, kernel_size=3, rng=rng),
        "norm": BatchNorm(4),
        "pool": MaxPool2d(2),
        "dropout": Dropout(0.25),
        "flatten": Flatten(),
        "dense": Dense(36, 4, rng=rng),
    }
    return tgl.Sequential(layers)


def trainer(device: str, *, lr: float = 0.1, read_every: int | None = None, **options: Any) -> Trainer:
    data = images()
    model = network().to(device)
    batches = Loader(data, batch_size=8, seed=0, workers=0, device=device)
    test = Loader(data, batch_size=16, shuffle=False, workers=0)  # on the host; the trainer moves its batches
    optimizer = SGD(model.parameters(), lr=lr, momentum=0.9)
    return Trainer(model, softmax_cross_entropy, optimizer, batches, test=test, read_every=read_every, **options)


def values(state: dict[str, Any]) -> dict[str, np.ndarray]:
    return {path: to_host(a) if isinstance(a, StrictArray) else a for path, a in state.items()}


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    left, right = values(left), values(right)
    return left.keys() == right.keys() and all(np.array_equal(left[p], right[p], equal_nan=True) for p in left)


class Counted(Callback):
    """A callback that notes the transfers and waits of each step."""

    def __init__(self) -> None:
        self.before, self.steps = transfers.copy(), []  # type: ignore[var-annotated]

    def step(self, metrics: dict[str, Any]) -> None:
        self.steps.append(transfers - self.before)
        self.before = transfers.copy()


@tgl.reference_only()
def test_a_device_gives_the_same_weights_and_metrics() -> None:
    here, there = trainer("cpu"), trainer(STRICT.name)
    here.train(3)
    there.train(3)
    assert same(here.model.state(), there.model.state())
    for ours, theirs in zip(here.history, there.history, strict=True):
        timeless = [{k: v for k, v in m.items() if k not in ("seconds", "images_per_second")} for m in (ours, theirs)]
        assert timeless[0] == timeless[1]


def test_a_step_transfers_nothing_and_does_not_wait() -> None:
    counted = Counted()
    t = trainer(STRICT.name, read_every=4, callbacks=[counted])
    t.train_epoch()
    assert len(counted.steps) == 6
    for number, moved in enumerate(counted.steps, 1):
        if number == 1:
            continue  # it sends the order of the images and keeps the initial state
        reads = number in (4, 6)
        expected = Counter({"to the host": 1} if reads else {})
        assert moved == expected, f"step {number}: {moved}"


def test_an_evaluation_waits_once() -> None:
    t, before = trainer(STRICT.name), transfers.copy()
    tgl_result = t._evaluate()
    moved = transfers - before
    assert tgl_result["test"]["accuracy"] <= 1
    assert moved["to the host"] == 1
    assert moved["waits"] == 0
    assert moved["to the device"] == 2 * 3, "images and labels of three batches"


def spoil_at(t: Trainer, step: int) -> None:
    """Make the loss of one step NaN."""
    loss, count = t.loss, [0]

    def spoiled(logits: Any, labels: Any) -> Any:
        value = loss(logits, labels)
        count[0] += 1
        return value * float("nan") if t.model.steps == step else value

    t.loss = spoiled


def test_a_loss_that_is_not_finite_is_found_later_and_undone() -> None:
    t, expected = trainer(STRICT.name, read_every=4), trainer(STRICT.name, read_every=1)
    spoil_at(t, 6)
    spoil_at(expected, 6)
    with pytest.raises(NonFiniteError, match="loss of step 6"):
        expected.train_epoch()
    with pytest.raises(NonFiniteError, match="loss of step 6"):
        t.train_epoch()
    assert t.steps == expected.steps == 5
    assert same(t.model.state(), expected.model.state())
    assert same(t.optimizer.state(), expected.optimizer.state())


def test_a_state_between_readings_is_always_finite() -> None:
    t, states = trainer(STRICT.name, read_every=4), []
    spoil_at(t, 2)

    class Asks(Callback):
        def step(self, metrics: dict[str, Any]) -> None:
            if metrics["step"] == 3:
                states.append(t.state())
                raise KeyboardInterrupt

    t.callbacks.append(Asks())
    with pytest.raises(KeyboardInterrupt):
        t.train_epoch()
    assert states[0]["steps"] == 0
    assert np.isfinite(states[0]["sums"]["loss"])


@pytest.mark.parametrize(
    "step",
    [
        Rotation(degrees=20),
        Rotation(degrees=20, fill="zero"),
        Rotation(degrees=20, fill="reflect"),
        Shift(height=0.2, width=0.2),
        Flip(),
        RandomCrop(padding=2),
        ChannelShift(),
        Brightness(),
        Contrast(),
        PCAColor(),
        Normalize(),
        Cutout(size=3),
        Mixup(classes=4),
    ],
    ids=lambda step: f"{type(step).__name__}{'' if not hasattr(step, 'fill') else '-' + step.fill}",
)
@tgl.reference_only()
def test_augmentation_on_a_device_gives_the_same_batches(step: Augmentation) -> None:
    data = images()
    pipeline = Compose([step]).fit(data)
    here, there = (Loader(data, batch_size=8, seed=3, augment=pipeline, device=d) for d in ("cpu", STRICT.name))
    for (x, labels), (x_there, labels_there) in zip(here, there, strict=True):
        assert isinstance(x_there, StrictArray)
        assert isinstance(labels_there, StrictArray)
        np.testing.assert_allclose(to_host(x_there), x, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(to_host(labels_there), labels)
    assert x.dtype == to_host(x_there).dtype


@pytest.mark.slow
def test_a_run_may_resume_on_another_device(tmp_path: Path) -> None:
    recipe = find_recipe("lenet5").override(["training.epochs=2", "data.per_class=20", "schedule.length=2"])
    with tgl.reference_only():
        whole = run_recipe(recipe, Reporter(), runs=tmp_path / "a")
        for epochs, device in ((1, STRICT.name), (2, "cpu")):
            part = recipe.override([f"training.epochs={epochs}"])
            folder = next((tmp_path / "b").iterdir()) if epochs == 2 else None
            result = run_recipe(part, Reporter(), runs=tmp_path / "b", resume=folder, device=device)
    assert result["test"] == whole["test"]
    ours, theirs = (CheckpointFolder(next(root.iterdir()) / "checkpoints").latest() for root in tmp_path.iterdir())
    assert ours is not None
    assert theirs is not None
    assert same(ours["model"], theirs["model"])
