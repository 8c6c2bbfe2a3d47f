"""Measure the accuracy of published weights, imported by this project, on the test set of CIFAR-10.

    python -m tests.benchmarks.pretrained FOLDER [--data DIR]

FOLDER holds the published files. Writes docs/results/pretrained.json.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import numpy as np

from tinygrad_lab.data import Compose, Loader, Normalize, load
from tinygrad_lab.files.writing import write_atomically
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.train import evaluate
from tinygrad_lab.zoo.pretrained import PRETRAINED, load_pretrained

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "pretrained.json"
PUBLISHED = {"resnet20_cifar10": 0.9173}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data")
    arguments = parser.parse_args()
    about = PRETRAINED["resnet20_cifar10"]
    test = load("cifar10", split="test", root=arguments.data)
    augment = Compose([Normalize(mean=about.mean, std=about.std)])
    batches = Loader(test, batch_size=250, shuffle=False, augment=augment, workers=0)
    found = evaluate(load_pretrained("resnet20_cifar10", folder=arguments.folder), softmax_cross_entropy, batches)
    results = {
        "command": "python -m tests.benchmarks.pretrained FOLDER",
        "weights": "resnet20_cifar10",
        "source": about.source,
        "images": found.images,
        "accuracy": found.accuracy,
        "published": PUBLISHED["resnet20_cifar10"],
        "machine": f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}",
    }
    write_atomically(RESULTS, (json.dumps(results, indent=1) + "\n").encode())
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
