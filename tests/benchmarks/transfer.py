"""Measure the accuracy of transfer learning and of training from scratch against the number of images.

    python -m tests.benchmarks.transfer FOLDER [--data DIR] [--so-far]

The task is airplane against ship, of CIFAR-10. A network of three convolutions is trained on the other eight classes.
Then, for 10 to 5,000 images a class, four methods are compared: training its last layer, its last convolution too, all
of it, or a new network from scratch. The learning rate is chosen once for each method, at 300 images a class, on
training images that those runs do not see. The number of updates is fixed beforehand, and the test set is used once,
after the last update. All methods share the images of a seed. Images are not augmented, so that the frozen layers
below the first layer that learns are computed once.

FOLDER keeps the trained weights and a line for each finished run, so that an interrupted program can be resumed. At the
end, the results are written to docs/results/transfer.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_lab as tgl
from tinygrad_lab.data import Compose, Dataset, Flip, Loader, Normalize, RandomCrop, load
from tinygrad_lab.files.writing import write_atomically
from tinygrad_lab.kernels.blas import one_blas_thread
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.optim import SGD
from tinygrad_lab.optim.schedules import OneCycle
from tinygrad_lab.registry import models
from tinygrad_lab.train import evaluate
from tinygrad_lab.weights import freeze, load_weights, replace_head, save_weights
from tinygrad_lab_layers import Flatten

TASK = ("airplane", "ship")
METHODS = {  # frozen variables; None: from scratch
    "frozen": {"patterns": ("*",), "but": "output"},
    "partly frozen": {"patterns": ("*",), "but": ("conv3", "output")},
    "fine-tuned": {"patterns": ()},
    "from scratch": None,
}
SIZES = {10: (200, 5), 30: (200, 5), 100: (200, 5), 300: (200, 5), 1000: (400, 3), 5000: (800, 3)}  # updates, seeds
RATES = (0.01, 0.03, 0.1)
TUNED_AT, HELD_OUT = 300, 1000  # images a class
WIDTHS = (16, 32, 64)
BATCH, PRETRAINING_EPOCHS, PRETRAINING_RATE = 32, 6, 0.05
NORMALIZE = Normalize(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "transfer.json"


def network(classes: int, seed: int) -> Any:
    model = models["gap7"](widths=WIDTHS, classes=classes, rng=seed)
    model.seed = seed
    return model


def in_order(data: Dataset) -> Loader:
    return Loader(data, batch_size=256, shuffle=False, augment=Compose([NORMALIZE]), workers=0)


def learning_part(model: Any, data: Dataset) -> tuple[Any, Dataset]:
    """Return the model from the first layer that learns on, and the data set of this layer's inputs."""
    layers = list(model.inner.items())
    first = next(i for i, (_, layer) in enumerate(layers) if any(p.node for p in layer.parameters().values()))
    if first == 0:
        return model, data
    body = tgl.Sequential(dict(layers[:first])).eval()
    with tgl.no_grad():
        parts = [body(tgl.tensor(x)).numpy() for x, _ in in_order(data)]
    features = np.concatenate(parts)
    maps = features.reshape(len(data), *(1, 1)[: 4 - features.ndim], *features.shape[1:])  # (N, C) -> (N, 1, 1, C)
    flat = {"flatten": Flatten()} if features.ndim == 2 else {}
    return tgl.Sequential({**flat, **dict(layers[first:])}), Dataset(maps, data.labels, classes=data.classes)


def train(model: Any, data: Dataset, *, updates: int, rate: float, batch: int, seed: int, augment: Any = ()) -> None:
    """Train by SGD with momentum and one cycle of the learning rate."""
    part, given = learning_part(model, data)
    steps = Compose([*augment, NORMALIZE]) if part is model else None
    model, batches = part, Loader(given, batch_size=batch, seed=seed, augment=steps, workers=1)
    optimizer = SGD(model.parameters(), lr=rate, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule, step = OneCycle(length=updates), 0
    model.train()
    while step < updates:
        for x, labels in batches:
            if step == updates:
                break
            optimizer.lr = rate * schedule(step)
            softmax_cross_entropy(model(tgl.tensor(x)), labels).backward()
            optimizer.step()
            step += 1


def accuracy(model: Any, data: Dataset) -> float:
    return evaluate(model, softmax_cross_entropy, in_order(data)).accuracy


def pretrained(folder: Path, root: str | None) -> dict[str, Any]:
    """Train on the other eight classes, once."""
    path = folder / "eight_classes.safetensors"
    about = path.with_suffix(".json")
    if not about.exists():
        others = [name for name in load("cifar10", split="test", root=root).classes if name not in TASK]
        data = load("cifar10", split="train", root=root, classes=others)
        model, start = network(len(others), 0), time.perf_counter()
        updates = PRETRAINING_EPOCHS * -(-len(data) // 128)
        augment = [Flip(), RandomCrop(padding=4)]
        train(model, data, updates=updates, rate=PRETRAINING_RATE, batch=128, seed=0, augment=augment)
        seconds = time.perf_counter() - start
        save_weights(model, path)
        reached = accuracy(model, load("cifar10", split="test", root=root, classes=others))
        about.write_text(json.dumps({"accuracy": reached, "epochs": PRETRAINING_EPOCHS, "seconds": round(seconds)}))
    return json.loads(about.read_text())


def prepared(method: str, folder: Path, seed: int) -> Any:
    kept = METHODS[method]
    if kept is None:
        return network(len(TASK), seed)
    model = network(8, seed)
    load_weights(model, folder / "eight_classes.safetensors")
    replace_head(model, len(TASK), rng=seed)
    if kept["patterns"]:
        freeze(model, *kept["patterns"], but=kept["but"])
    return model


class Log:
    """A line of JSON for each finished run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.done = {entry["key"]: entry for entry in map(json.loads, lines)}

    def once(self, key: str, run: Any) -> dict[str, Any]:
        if key not in self.done:
            start = time.perf_counter()
            entry = {"key": key, "accuracy": run(), "seconds": round(time.perf_counter() - start, 1)}
            with self.path.open("a") as file:
                file.write(json.dumps(entry) + "\n")
            print(entry, flush=True)
            self.done[key] = entry
        return self.done[key]


def run_all(folder: Path, root: str | None) -> None:
    """Choose the rates, then run seed by seed, so that finished seeds are a complete smaller experiment."""
    pretrained(folder, root)
    log = Log(folder / "log.jsonl")
    whole = load("cifar10", split="train", root=root, classes=list(TASK))
    test = load("cifar10", split="test", root=root, classes=list(TASK))

    def run(method: str, size: int, rate: float, seed: int, judged_on: Dataset) -> float:
        model, (updates, _) = prepared(method, folder, seed), SIZES[size]
        train(model, whole.limit(size, seed=seed), updates=updates, rate=rate, batch=BATCH, seed=seed)
        return accuracy(model, judged_on)

    seen = set(whole.limit(TUNED_AT, seed=0).index.tolist())
    larger = whole.limit(TUNED_AT + HELD_OUT, seed=0)
    validation = larger.take(np.flatnonzero([i not in seen for i in larger.index.tolist()]))
    for method in METHODS:
        for rate in RATES:
            log.once(f"tune/{method}/{rate}", lambda m=method, r=rate: run(m, TUNED_AT, r, 0, validation))
    chosen = chosen_rates(log)
    for seed, size in sorted((seed, size) for size, (_, seeds) in SIZES.items() for seed in range(seeds)):
        for method in METHODS:
            log.once(f"{method}/{size}/{seed}", lambda m=method, n=size, s=seed: run(m, n, chosen[m], s, test))


def rates_tried(log: Log) -> dict[str, dict[str, float]]:
    return {m: {str(rate): log.done[f"tune/{m}/{rate}"]["accuracy"] for rate in RATES} for m in METHODS}


def chosen_rates(log: Log) -> dict[str, float]:
    return {method: float(max(tried, key=lambda r: tried[r])) for method, tried in rates_tried(log).items()}


def collected(folder: Path) -> dict[str, Any]:
    """Return the results of the seeds that all methods have finished, for each size with at least two such seeds."""
    log = Log(folder / "log.jsonl")
    seeds = {n: [s for s in range(5) if all(f"{m}/{n}/{s}" in log.done for m in METHODS)] for n in SIZES}
    runs = {
        m: {str(n): [log.done[f"{m}/{n}/{s}"]["accuracy"] for s in seeds[n]] for n in SIZES if len(seeds[n]) > 1}
        for m in METHODS
    }
    return {
        "pretrained": json.loads((folder / "eight_classes.json").read_text()),
        "rates_tried": rates_tried(log),
        "rates": chosen_rates(log),
        "accuracy": runs,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data")
    parser.add_argument("--so-far", action="store_true", help="write the results of the finished runs, and run nothing")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if not arguments.so_far:
        with one_blas_thread():
            run_all(arguments.folder, arguments.data)
    results = collected(arguments.folder)
    about = {
        "command": "python -m tests.benchmarks.transfer FOLDER",
        "task": "CIFAR-10, airplane against ship; accuracy on the 2,000 test images after the last update",
        "network": f"gap7 with widths={WIDTHS}, trained on the other eight classes",
        "updates": {size: SIZES[int(size)][0] for size in results["accuracy"]["frozen"]},
        "machine": f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}",
    }
    RESULTS.parent.mkdir(exist_ok=True)
    write_atomically(RESULTS, (json.dumps(about | results, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
