"""Train a recipe on a device for a limited time, and print the accuracies it reached as one JSON object.

    python -m tests.gpu.accuracy RECIPE --device cuda --seconds 300 --runs FOLDER [--data PIECES] [--set T.KEY=VALUE]

A second call with the same folder continues from its checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

from tests.gpu.pieces import reading
from tinygrad_lab.train import find_recipe, run_recipe
from tinygrad_lab.train.progress import Reporter


def arguments() -> argparse.Namespace:
    """Return the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--set", action="append", default=[])
    return parser.parse_args()


def reached(folder: Path, target: float) -> dict[str, Any]:
    """Return the accuracies of a run's last and best epochs, and the first epoch that reached the target."""
    path = folder / "metrics.jsonl"
    history = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    if not history:
        return {"epochs": 0}
    accuracies = [m["test"]["accuracy"] for m in history]
    seconds = [m["seconds"] for m in history]
    first = next((i for i, accuracy in enumerate(accuracies) if accuracy >= target), None)
    return {
        "epochs": len(history),
        "accuracy": accuracies[-1],
        "best_accuracy": max(accuracies),
        "seconds_an_epoch": sum(seconds) / len(seconds),
        "seconds": sum(seconds),
        "target": target,
        "epochs_to_target": None if first is None else first + 1,
        "seconds_to_target": None if first is None else sum(seconds[: first + 1]),
        "images_a_second": history[-1]["images_per_second"],
        "training_images": round(history[-1]["images_per_second"] * history[-1]["seconds"]),
    }


def main() -> None:
    """Train until the recipe or the time ends, whichever comes first."""
    given = arguments()
    recipe = find_recipe(given.recipe).override(given.set)
    folder = next((f for f in sorted(given.runs.glob("*")) if (f / "recipe.json").exists()), None)
    ended = "by the recipe"
    timer = threading.Timer(given.seconds, lambda: os.kill(os.getpid(), signal.SIGINT))  # between two steps
    timer.daemon = True
    timer.start()
    try:
        with reading(given.data or Path()):
            run_recipe(recipe, Reporter(), runs=given.runs, resume=folder, device=given.device)
    except KeyboardInterrupt:
        ended = "by the time allowed"
    timer.cancel()
    folder = folder or next(iter(sorted(given.runs.glob("*"))))
    print(json.dumps({"recipe": recipe.name, "device": given.device, "ended": ended} | reached(folder, 0.901)))


if __name__ == "__main__":
    main()
