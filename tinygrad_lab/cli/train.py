"""Train a network by a recipe; without a name, LeNet-5 on real digits."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

DEFAULT = "lenet5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("recipe", nargs="?", default=DEFAULT, help="a recipe's name or TOML file (default: lenet5)")
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE", help="replace a setting")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="run N times, from the recipe's seed on")
    parser.add_argument("--data", metavar="DIR", help="where data sets lie (default: TINYGRAD_LAB_DATA, then a cache)")
    parser.add_argument("--runs", default="runs", metavar="DIR", help="where the run's folder goes (default: runs)")
    parser.add_argument("--resume", metavar="RUN", help="go on with the run in this folder")
    parser.add_argument("--quiet", action="store_true", help="print the result alone")
    parser.add_argument("--json", action="store_true", help="print one JSON object a run, and nothing else")


def run(arguments: argparse.Namespace) -> int:
    """Train, and print the accuracy on held-out images."""
    from tinygrad_lab.errors import ConfigError
    from tinygrad_lab.train.recipe import find_recipe
    from tinygrad_lab.train.run import new_run_folder, read_run, run_recipe

    if arguments.resume:
        if arguments.recipe != DEFAULT or arguments.set or arguments.seeds != 1:
            raise ConfigError("--resume: expected the run's folder alone, got a recipe or settings; a run keeps its")
        folder = Path(arguments.resume)
        _show(run_recipe(read_run(folder), folder, _reporter(arguments), root=arguments.data), arguments)
        return 0
    if arguments.seeds < 1:
        raise ConfigError(f"--seeds: expected at least 1, got {arguments.seeds}")
    recipe = find_recipe(arguments.recipe).override(arguments.set)
    first, results = recipe["training"].get("seed", 0), []
    for seed in range(first, first + arguments.seeds):
        seeded = recipe.override([f"training.seed={seed}"])
        folder = new_run_folder(Path(arguments.runs), recipe.name)
        results.append(run_recipe(seeded, folder, _reporter(arguments), root=arguments.data))
        _show(results[-1], arguments)
    if len(results) > 1 and not arguments.json:
        print(_spread([r["held_out"]["accuracy"] for r in results]))
    return 0


def _reporter(arguments: argparse.Namespace) -> Any:
    from tinygrad_lab.train.progress import LineReporter, LiveReporter, Reporter

    if arguments.quiet or arguments.json:
        return Reporter()
    return LiveReporter() if sys.stdout.isatty() else LineReporter()


def _show(result: dict[str, Any], arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps(result), flush=True)
        return
    held_out = result["held_out"]
    print(f"held-out accuracy {held_out['accuracy']:.2%}, loss {held_out['loss']:.4f} (seed {result['seed']})")
    print(f"{result['epochs']} epochs in {result['seconds']:.1f} s, {result['images_per_second']:,.0f} images/s")
    print(f"run folder: {result['run']}", flush=True)


def _spread(accuracies: list[float]) -> str:
    mean, spread = statistics.mean(accuracies), statistics.stdev(accuracies)
    return f"held-out accuracy over {len(accuracies)} seeds: {mean:.2%}, standard deviation {spread:.2%}"
