"""Measure trainings on ranks, and a model of their cost: python tests/benchmarks/ranks.py FOLDER

Steps of alexnet_small, 512 images each, run on one rank and on two, in rounds in which each configuration runs once, in
a process of its own. Sums of several sizes on two ranks give the latency and the time for a byte. FOLDER gets
``ranks.json``, and the page ``ranks.md`` with medians and what the model predicts for more ranks.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_lab.data import Dataset, Loader, Shard
from tinygrad_lab.distributed import init
from tinygrad_lab.distributed.launcher import find_mpiexec
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.optim import SGD
from tinygrad_lab.registry import models
from tinygrad_lab.train.blocks import Parallel
from tinygrad_lab.train.provenance import machine
from tinygrad_lab.train.trainer import Trainer

ROUNDS, STEPS, BATCH = 3, 3, 512
SIZES = (1_000, 10_000, 100_000, 1_000_000, 4_000_000)  # elements of float32
WEIGHTS = 1_013_716  # of alexnet_small
CONFIGURATIONS = {  # ranks, threads of each, blocks of a batch (0: a plain training)
    "1 rank x 1 thread": (1, 1, 0),
    "1 rank x 1 thread, 8 blocks": (1, 1, 8),
    "2 ranks x 1 thread, 8 blocks": (2, 1, 8),
    "2 ranks x 1 thread, fast sums": (2, 1, 2),
    "1 rank x 2 threads": (1, 2, 0),
}


def steps(blocks: int) -> list[float]:
    """Return the seconds of some steps on this job's ranks, after one that is not counted."""
    world, rng = init(), np.random.default_rng(0)
    images = BATCH * (STEPS + 1)
    data = Dataset(rng.integers(0, 256, (images, 32, 32, 3), np.uint8), np.arange(images) % 2)
    shard = Shard(world.rank, world.size, blocks) if blocks else None
    parallel = Parallel(world, fast_sums=blocks == world.size) if blocks else None
    model = models["alexnet_small"](rng=0)
    loader = Loader(data, batch_size=BATCH, shard=shard)
    trainer = Trainer(
        model, softmax_cross_entropy, SGD(model.parameters(), lr=0.01, momentum=0.9), loader, parallel=parallel
    )
    ends: list[float] = []

    class Clock:
        def step(self, metrics: object) -> None:
            ends.append(time.perf_counter())

    trainer.callbacks.append(Clock())  # type: ignore[arg-type]
    trainer.train_epoch()
    return np.diff(ends).tolist()


def sums() -> list[list[float]]:
    """Return the median seconds of sums of several sizes: rows of (bytes, seconds)."""
    world, found = init(), []
    for size in SIZES:
        x, taken = np.ones(size, np.float32), []
        for _ in range(9):
            world.wait_for_all()
            start = time.perf_counter()
            world.all_sum(x)
            taken.append(time.perf_counter() - start)
        found.append([4 * size, statistics.median(taken)])
    return found


def job(ranks: int, threads: int, *arguments: str) -> Any:
    """Return what rank 0 of a new job prints."""
    program = ("-m", "mpi4py", __file__, *arguments)
    command = [find_mpiexec(), "-n", str(ranks), sys.executable, *program]
    environment = {**os.environ, "TINYGRAD_LAB_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def fitted(points: list[list[float]]) -> tuple[float, float]:
    """Return latency and seconds for a byte, fitted to the relative errors of measured sums on two ranks.

    A sum on R ranks is modeled as 2 (R - 1) latencies and 2 (R - 1) / R of the bytes: each rank sends every other one a
    piece, and gets the sum of its piece back.
    """
    rows = np.array([[2.0, n] for n, _ in points]) / np.array([[seconds] for _, seconds in points])
    latency, byte = np.linalg.lstsq(rows, np.ones(len(points)), rcond=None)[0]
    return max(float(latency), 0.0), float(byte)


def predicted(ranks: int, image: float, latency: float, byte: float) -> float:
    """Return the efficiency of a step on some ranks, each with 64 images."""
    exchange = 2 * (ranks - 1) * latency + 2 * (ranks - 1) / ranks * 4 * WEIGHTS * byte
    return 64 * image / (64 * image + exchange)


def page(found: dict[str, Any]) -> str:
    """Return the page of results."""
    medians = {name: statistics.median(times) for name, times in found["steps"].items()}
    one, (latency, byte) = medians["1 rank x 1 thread"], fitted(found["sums"])
    lines = [
        "# Ranks",
        "",
        f"Steps of `alexnet_small` with {BATCH} images, on {found['machine'].get('processor', 'this processor')}.",
        f"Medians of {ROUNDS * STEPS} steps in {ROUNDS} rounds, with the smallest and the largest.",
        "`python tests/benchmarks/ranks.py docs/results` measures them and writes this page.",
        "",
        "| | step, ms | speed relative to 1 rank x 1 thread |",
        "|---|---|---|",
    ]
    for name, times in found["steps"].items():
        low, high = (f"{1000 * end(times):.0f}" for end in (min, max))
        lines.append(f"| {name} | {1000 * medians[name]:.0f} ({low} to {high}) | {one / medians[name]:.2f} |")
    two = medians["2 ranks x 1 thread, 8 blocks"]
    lines += [
        "",
        f"The efficiency of two ranks is {one / two / 2:.2f}: their speed, divided by twice that of one rank.",
        "",
        "## A model of the cost",
        "",
        "| sum of | measured, ms | model, ms |",
        "|---|---|---|",
    ]
    for size, seconds in found["sums"]:
        lines.append(f"| {size / 1e6:g} MB | {1000 * seconds:.3f} | {1000 * (2 * latency + size * byte):.3f} |")
    lines += [
        "",
        f"Fitted on two ranks: {1e6 * latency:.1f} microseconds for a message, {1e-9 / byte:.2f} GB/s. It assumes:",
        "",
        "- A sum is not overlapped with the backward pass.",
        "- The messages of a rank follow one another.",
        "- More ranks have cores and links of their own, as fast as these two ranks, which share one machine's memory.",
        "",
        "With 64 images on each rank it predicts:",
        "",
        "| ranks | efficiency |",
        "|---|---|",
        *(f"| {r:,} | {predicted(r, one / BATCH, latency, byte):.2f} |" for r in (2, 8, 64, 1024)),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, or be one rank of a measurement."""
    if sys.argv[1] in ("steps", "sums"):
        found = steps(int(sys.argv[2])) if sys.argv[1] == "steps" else sums()
        if init().rank == 0:
            print(json.dumps(found))
        return
    taken: dict[str, list[float]] = {name: [] for name in CONFIGURATIONS}
    for _ in range(ROUNDS):
        for name, (ranks, threads, blocks) in CONFIGURATIONS.items():
            taken[name] += job(ranks, threads, "steps", str(blocks))
    found = {"machine": machine("cpu"), "steps": taken, "sums": job(2, 1, "sums")}
    folder = Path(sys.argv[1])
    (folder / "ranks.json").write_text(json.dumps(found, indent=2) + "\n")
    (folder / "ranks.md").write_text(page(found))


if __name__ == "__main__":
    main()
