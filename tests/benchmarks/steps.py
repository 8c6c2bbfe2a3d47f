"""Measure the parts of a step and how they grow: python tests/benchmarks/steps.py {profile|scaling} OUTPUT.json

`profile` runs training steps of some networks and adds up the time of each kind of operation; the rest is the time of
the engine and of Python. `scaling` measures steps with more images in a batch, larger images and more layers. Both
return medians over rounds, in each of which everything is measured once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import tinygrad_lab as tgl
from tinygrad_lab.autograd.primitive import Primitive
from tinygrad_lab.bench.networks import NETWORKS, Network
from tinygrad_lab.bench.ours import Subject
from tinygrad_lab.bench.worker import timed
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.optim import SGD
from tinygrad_lab.train.allocator import keep_freed_memory
from tinygrad_lab.zoo.resnet import resnet_cifar

PROFILED = ("alexnet_small", "resnet20")
THEMES = {
    "convolution, forward": ("conv2d", "conv2d_relu"),
    "convolution, gradient of the image": ("conv2d_grad_x",),
    "convolution, gradient of the filters": ("conv2d_grad_w",),
    "batch normalization": ("batch_norm", "batch_norm_relu", "centered_sums", "blend"),
    "activations": ("relu", "relu_grad", "add_relu"),
    "pooling": ("max_pool2d", "max_pool2d_values", "max_pool2d_grad", "sum_pool2d", "sum_pool2d_grad"),
    "dense layers": ("matmul_matrices",),
    "updates": ("momentum_update",),
}
BATCHES, SIDES, DEPTHS = (8, 16, 32, 64, 128, 256), (16, 24, 32, 48, 64), (8, 14, 20, 32, 44, 56)


class Clock:
    """The seconds that operations take, by kind; an operation inside another one is counted separately."""

    def __init__(self) -> None:
        self.themes = {name: theme for theme, names in THEMES.items() for name in names}
        self.seconds: dict[str, float] = defaultdict(float)
        self.inner: list[float] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Time each operation inside the ``with`` block."""
        call = Primitive.__call__

        def timed_call(primitive: Primitive, *args: Any, **options: Any) -> Any:
            self.inner.append(0.0)
            start = time.perf_counter()
            try:
                return call(primitive, *args, **options)
            finally:
                seconds = time.perf_counter() - start
                self.seconds[self.themes.get(primitive.__name__, "other operations")] += seconds - self.inner.pop()
                if self.inner:
                    self.inner[-1] += seconds

        with patch.object(Primitive, "__call__", timed_call):
            yield


def profile(rounds: int) -> dict[str, Any]:
    """Return, for each network, the median milliseconds of a training step by kind of operation."""
    found = {}
    for name in PROFILED:
        subject, clocks, wholes = Subject(NETWORKS[name], ""), [], []
        for _ in range(3):
            subject.train()
        for _ in range(rounds):
            clock = Clock()
            with clock.running():
                wholes.append(timed(subject.train))
            clock.seconds["the engine, and Python"] = wholes[-1] - sum(clock.seconds.values())
            clocks.append(clock.seconds)
        themes = {theme for seconds in clocks for theme in seconds}
        parts = {theme: 1e3 * statistics.median(seconds.get(theme, 0.0) for seconds in clocks) for theme in themes}
        ordered = dict(sorted(parts.items(), key=lambda part: -part[1]))
        found[name] = {
            "batch": NETWORKS[name].batch,
            "step_ms": round(1e3 * statistics.median(wholes), 2),
            "ms": {theme: round(ms, 2) for theme, ms in ordered.items()},
        }
    return found


def deep(depth: int) -> Callable[[], float]:
    """Return a training step of a residual network of a given depth."""
    keep_freed_memory()
    rng = np.random.default_rng(0)
    model = resnet_cifar(depth=depth, rng=0)
    optimizer = SGD(model.parameters(), lr=1e-5, momentum=0.9)
    x, labels = tgl.tensor(rng.standard_normal((32, 32, 32, 3), np.float32)), rng.integers(0, 10, 32)

    def step() -> float:
        loss = softmax_cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return float(loss.numpy())

    return step


def scaling(rounds: int) -> dict[str, Any]:
    """Return the median milliseconds of a training step against batch size, image size and depth."""
    net: Network = NETWORKS["alexnet_small"]
    series: dict[str, dict[int, Callable[[], float]]] = {
        "images in a batch": {n: Subject(replace(net, batch=n), "").train for n in BATCHES},
        "pixels of an image": {n * n: Subject(replace(net, batch=32, image=(n, n, 3)), "").train for n in SIDES},
        "layers": {n: deep(n) for n in DEPTHS},
    }
    seconds: dict[tuple[str, int], list[float]] = defaultdict(list)
    for number in range(rounds + 2):
        for name, steps in series.items():
            for size, step in steps.items():
                took = timed(step)
                if number >= 2:
                    seconds[name, size].append(took)
    return {
        name: {
            "ms": {size: round(1e3 * statistics.median(seconds[name, size]), 3) for size in steps},
            **straight({size: 1e3 * statistics.median(seconds[name, size]) for size in steps}),
        }
        for name, steps in series.items()
    }


def straight(points: dict[int, float]) -> dict[str, float]:
    """Return the fitted line: the fixed cost, the cost of each unit, and the share of the variance it explains."""
    sizes, costs = np.array(list(points), float), np.array(list(points.values()))
    each, fixed = np.polyfit(sizes, costs, 1)
    rest = costs - (fixed + each * sizes)
    return {
        "fixed_ms": round(float(fixed), 2),
        "ms_each": float(f"{each:.3g}"),
        "explained": round(float(1 - rest.var() / costs.var()), 4),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["profile", "scaling"])
    parser.add_argument("output", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    work = {"profile": profile, "scaling": scaling}[arguments.what]
    arguments.output.write_text(json.dumps(work(arguments.rounds), indent=2) + "\n")
