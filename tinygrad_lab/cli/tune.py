"""Choose settings of a recipe on validation images, never on test images, and keep a ledger of every trial."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = "tinygrad-lab sweep runs several trials at once, and draws them."
    add_trial_arguments(parser, seeds=2, folder="tuning")


def add_trial_arguments(parser: argparse.ArgumentParser, *, seeds: int, folder: str) -> None:
    """Declare the arguments that say which trials there are and where they go."""
    parser.add_argument("recipe", help="a recipe's name or TOML file; it needs data.validation")
    parser.add_argument(
        "--set", action="append", default=[], metavar="TABLE.KEY=VALUE,VALUE", help="values to try, in all combinations"
    )
    of_each = f"seeds of each combination (default: {seeds})"
    parser.add_argument("--seeds", type=int, default=seeds, metavar="N", help=of_each)
    parser.add_argument("--data", metavar="DIR", help="folder of data sets (default: TINYGRAD_LAB_DATA, then a cache)")
    parser.add_argument(
        "--folder", default=folder, metavar="DIR", help=f"folder for the ledger and the runs (default: {folder})"
    )
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu, or cuda for a GPU (default: cpu)")
    parser.add_argument("--json", action="store_true", help="print the trials as a list of objects, and nothing else")


def run(arguments: argparse.Namespace) -> int:
    """Run the trials and print the ranking."""
    from tinygrad_lab.files.writing import json_text
    from tinygrad_lab.train.progress import Reporter
    from tinygrad_lab.train.recipe import find_recipe
    from tinygrad_lab.train.tuning import tune

    trials = tune(
        find_recipe(arguments.recipe),
        arguments.set,
        Reporter(),
        seeds=arguments.seeds,
        folder=Path(arguments.folder),
        root=arguments.data,
        device=arguments.device,
    )
    if arguments.json:
        print(json_text(trials, indent=2))
    else:
        show(trials, arguments)
    return 0


def show(trials: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    """Print the ranking of trials, those that did not finish, and the verdict on the best."""
    import shlex

    from tinygrad_lab.train.evaluation import spread
    from tinygrad_lab.train.ledger import LEDGER
    from tinygrad_lab.train.tuning import lead, ranking, score_of

    ranked, score = ranking(trials), score_of(trials)
    for settings, values in ranked:
        print(f"{score.spread(spread(list(values.values()))):14} {' '.join(settings) or 'the recipe as it is'}")
    for trial in trials:
        if trial["status"] != "finished":
            print(f"{'-':14} {' '.join(trial['settings'])} (seed {trial['seed']}): {trial['status']}")
    if ranked:
        images = next(trial["images"] for trial in trials if trial["status"] == "finished")
        print(f"validation {score}{score.unit} on {images:,} images, {arguments.seeds} seeds; no test image was read")
        if (found := lead(ranked, images, score)) is not None:
            print(f"the best compared with the second: {found.text(score)}")
        sets = "".join(f" --set {shlex.quote(setting)}" for setting in ranked[0][0])
        print(f"train it: tinygrad-lab train {arguments.recipe}{sets} --seeds 3")
    print(f"ledger: {Path(arguments.folder) / LEDGER}")
