"""Measure the cost of augmentation: milliseconds for 128 images of 32x32x3, and their share of a training step.

python tests/benchmarks/augmentation.py [rounds]

The step is a training step of the network `alexnet_small` on such a batch. Each round measures all augmentations and
the step in turn, with compiled kernels and with NumPy alone, so that a slowdown of the machine affects all of them.
A share is the median over the rounds.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_lab.autograd.settings import using
from tinygrad_lab.data import (
    Brightness,
    ChannelShift,
    Compose,
    Contrast,
    Cutout,
    Dataset,
    Flip,
    Loader,
    Mixup,
    Normalize,
    PCAColor,
    RandomCrop,
    Rotation,
    Shift,
    Zoom,
)
from tinygrad_lab.kernels.blas import one_blas_thread
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.optim import SGD
from tinygrad_lab.registry import models
from tinygrad_lab.train import Trainer

BATCH = 128
PIPELINES = {
    "flip, crop": [Flip(), RandomCrop(padding=4)],
    "flip, crop, cutout, mixup": [Flip(), RandomCrop(padding=4), Cutout(), Mixup(classes=10)],
    "rotation, shift, flip, channel shift": [Rotation(), Shift(height=0.2, width=0.2), Flip(), ChannelShift()],
    "rotation, shift, zoom": [Rotation(), Shift(), Zoom()],
    "channel shift": [ChannelShift()],
    "brightness": [Brightness()],
    "contrast": [Contrast()],
    "principal colors": [PCAColor()],
    "cutout": [Cutout()],
    "mixup": [Mixup(classes=10)],
    "normalization": [Normalize()],
}


def timed(work: Callable[[], object]) -> float:
    """Return the milliseconds that a call takes."""
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def training_step(images: Any, labels: Any) -> Callable[[], object]:
    """Return a step of alexnet_small with momentum."""
    model = models["alexnet_small"](classes=10, rng=0)
    optimizer = SGD(model.parameters(), lr=1e-4, momentum=0.9)
    optimizer.in_place = True
    trainer = Trainer(model, softmax_cross_entropy, optimizer, Loader(Dataset(images, labels), workers=0))
    return lambda: trainer.train_step(images, labels)


def main() -> None:
    """Print a table of the augmentations, the training step and the loader."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    pixels = np.random.default_rng(0).integers(0, 256, (40 * BATCH, 32, 32, 3), np.uint8)
    data = Dataset(pixels, np.arange(len(pixels)) % 10)
    images, labels = (pixels[:BATCH] / 255).astype(np.float32), data.labels[:BATCH]
    fitted = {name: Compose(steps).fit(data) for name, steps in PIPELINES.items()}
    works: dict[str, Callable[[], object]] = {
        name: lambda pipeline=pipeline: pipeline(images, labels, rng=np.random.default_rng(0))
        for name, pipeline in fitted.items()
    }
    print(f"{'milliseconds a batch, % of a step':<40}{'compiled':>16}{'NumPy':>16}")
    columns = []
    for providers in (None, frozenset({"numpy"})):
        with using(providers=providers), one_blas_thread():
            step = training_step(images, labels)
            for work in (step, *works.values()):
                work()
            turns = [(timed(step), {name: timed(work) for name, work in works.items()}) for _ in range(rounds)]
        columns.append(turns)
    steps = [statistics.median(step for step, _ in turns) for turns in columns]
    print(f"{'a training step of alexnet_small':<40}" + "".join(f"{step:>9.1f}       " for step in steps))
    for name in works:
        cells = ""
        for turns in columns:
            share = statistics.median(times[name] / step for step, times in turns)
            cells += f"{statistics.median(times[name] for _, times in turns):>9.2f} {share:>5.1%}"
        print(f"{name:<40}{cells}")
    for workers in (0, 1, 2):
        loader = Loader(data, batch_size=BATCH, augment=fitted["flip, crop"], workers=workers)
        each = statistics.median(timed(lambda loader=loader: list(loader)) for _ in range(5)) / len(loader)
        print(f"{f'loader, {workers} workers: flip, crop':<40}{each:>9.2f}")


if __name__ == "__main__":
    main()
