"""Gather finished runs: accuracy over seeds, experiment by experiment."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("runs", nargs="?", default="runs", help="the folder that holds run folders (default: runs)")
    parser.add_argument("--write", metavar="DIR", help="write a JSON file an experiment, and a page, into this folder")
    parser.add_argument("--json", action="store_true", help="print a list of objects")


def run(arguments: argparse.Namespace) -> int:
    """Print the three figures of each experiment, or write them."""
    from tinygrad_lab.train.results import gather, read_runs, write_results

    results = gather(read_runs(Path(arguments.runs)))
    if arguments.write:
        write_results(results, Path(arguments.write))
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        _print_table(results)
    return 0


def _print_table(results: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from tinygrad_lab.train.evaluation import FIGURES, percent
    from tinygrad_lab.train.results import changes

    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for what in ("recipe", "seeds", "epochs", *(name.partition("_")[0] for name in FIGURES)):
        table.add_column(what, no_wrap=True, min_width=max(len(r["recipe"]) for r in results) * (what == "recipe"))
    for result in results:
        cells = [percent(result.get(name)) for name in FIGURES]
        table.add_row(result["recipe"], str(len(result["seeds"])), str(result["epochs"]), *cells)
    console = Console(soft_wrap=True)
    console.print(table)
    console.print("Accuracy in %: " + "; ".join(f"{name.partition('_')[0]}, {what}" for name, what in FIGURES.items()))
    for result in results:
        if told := "; ".join(changes(result)):
            console.print(f"{result['recipe']} ran with other settings than the recipe has: {told}", markup=False)
