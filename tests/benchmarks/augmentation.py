"""Measure what augmentation costs: milliseconds for a batch of 128 images of 32x32x3, compiled and in NumPy.

python tests/benchmarks/augmentation.py [runs]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

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
from tinygrad_lab.settings import reference_only

BATCH = 128
PIPELINES = {
    "flip, crop": [Flip(), RandomCrop(padding=4)],
    "rotation, shift, flip, channel shift": [Rotation(), Shift(height=0.2, width=0.2), Flip(), ChannelShift()],
    "rotation, shift, zoom": [Rotation(), Shift(), Zoom()],
    "channel shift": [ChannelShift()],
    "brightness": [Brightness()],
    "contrast": [Contrast()],
    "principal colours": [PCAColor()],
    "cutout": [Cutout()],
    "mixup": [Mixup(classes=10)],
    "normalisation": [Normalize()],
}


def milliseconds(work: Callable[[], object], runs: int) -> float:
    """Median time of a call, after one that warms up."""
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def main() -> None:
    """Print a table of the augmentations, and what the loader adds."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    pixels = np.random.default_rng(0).integers(0, 256, (40 * BATCH, 32, 32, 3), np.uint8)
    data = Dataset(pixels, np.arange(len(pixels)) % 10)
    images, labels = (pixels[:BATCH] / 255).astype(np.float32), data.labels[:BATCH]
    print(f"{'milliseconds a batch':<40}{'compiled':>10}{'NumPy':>10}")
    for name, steps in PIPELINES.items():
        pipeline = Compose(steps).fit(data)

        def work(pipeline: Compose = pipeline) -> object:
            return pipeline(images, labels, rng=np.random.default_rng(0))

        compiled = milliseconds(work, runs)
        with reference_only():
            print(f"{name:<40}{compiled:>10.2f}{milliseconds(work, runs):>10.2f}")
    for workers in (0, 1, 2):
        loader = Loader(data, batch_size=BATCH, augment=Compose(PIPELINES["flip, crop"]), workers=workers)
        each = milliseconds(lambda loader=loader: list(loader), 5) / len(loader)
        print(f"{f'loader, {workers} workers: flip, crop':<40}{each:>10.2f}")


if __name__ == "__main__":
    main()
