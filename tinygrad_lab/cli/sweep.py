"""Try combinations of settings on validation images, several at once, and draw them with their confidence."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from tinygrad_lab.cli.tune import add_trial_arguments

    parser.epilog = "tinygrad-lab tune runs the same trials one after another, each on all cores."
    add_trial_arguments(parser, seeds=3, folder="sweep")
    parser.add_argument("--ranks", type=int, metavar="N", help="trials at once (default: the number of cores)")
    parser.add_argument("--quiet", action="store_true", help="print only the result")


def run(arguments: argparse.Namespace) -> int:
    """Run the trials, print the ranking and draw it."""
    from tinygrad_lab.cli.tune import show
    from tinygrad_lab.files.writing import json_text
    from tinygrad_lab.inspect.trials import save_trials
    from tinygrad_lab.train.recipe import find_recipe
    from tinygrad_lab.train.sweep import sweep

    recipe, folder = find_recipe(arguments.recipe), Path(arguments.folder)
    trials = sweep(
        recipe,
        arguments.set,
        seeds=arguments.seeds,
        ranks=arguments.ranks,
        folder=folder,
        root=arguments.data,
        device=arguments.device,
        notify=(lambda *found: None) if arguments.quiet or arguments.json else _progress,
    )
    if arguments.json:
        print(json_text(trials, indent=2))
        return 0
    show(trials, arguments)
    if (picture := save_trials(trials, folder, recipe)) is not None:
        print(f"picture: {picture}")
    return 0


def _progress(trial: dict[str, Any], done: int, count: int) -> None:
    print(f"trial {done}/{count}: {' '.join(trial['settings'])} (seed {trial['seed']}): {trial['status']}", flush=True)
