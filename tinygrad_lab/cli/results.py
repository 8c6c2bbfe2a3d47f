"""Summarize finished runs: the accuracy (or R²) of each experiment over its seeds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    what = "folders of runs, or folders that hold them (default: runs)"
    parser.add_argument("runs", nargs="*", default=["runs"], metavar="RUNS", help=what)
    parser.add_argument("--write", metavar="DIR", help="write a JSON file per experiment, and a page, into this folder")
    parser.add_argument(
        "--ledger",
        action="append",
        default=[],
        metavar="FILE",
        help="with --write: add the trials in this ledger of `tune`",
    )
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="draw accuracy against epoch, and the errors of several variants, into this file (.svg or .png)",
    )
    parser.add_argument("--json", action="store_true", help="print a list of objects")


def run(arguments: argparse.Namespace) -> int:
    """Print the three figures of each experiment, write them, or draw them."""
    from tinygrad_lab.errors import ConfigError
    from tinygrad_lab.inspect.plots import plot_path, write_plots
    from tinygrad_lab.train.ledger import read_ledger
    from tinygrad_lab.train.results import gather, read_runs, write_results

    if arguments.ledger and not arguments.write:
        raise ConfigError("--ledger: expected --write too, got --ledger alone; --write writes the page of the trials")
    plot = plot_path(arguments.plot) if arguments.plot is not None else None
    results = gather(read_runs(*map(Path, arguments.runs)))
    if arguments.write:
        ledgers = sorted(Path(ledger) for ledger in arguments.ledger)
        write_results(results, Path(arguments.write), [trial for path in ledgers for trial in read_ledger(path)])
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        _print_table(results)
    if plot is not None:
        write_plots(results, plot)
        if not arguments.json:
            print(plot)
    return 0


def _print_table(results: list[dict[str, Any]]) -> None:
    from tinygrad_lab.train.evaluation import FIGURES
    from tinygrad_lab.train.results import comparisons, distinctions, headline_of

    width = max(len(result["recipe"]) for result in results)
    figures = {name.partition("_")[0]: meaning for name, meaning in FIGURES.items()}
    print(f"{'recipe':{width}} seeds epochs {' '.join(f'{figure:12}' for figure in figures)}".rstrip())
    for result, differs in zip(results, distinctions(results), strict=True):
        score = headline_of(result)
        cells = " ".join(f"{score.spread(result.get(name)):12}" for name in FIGURES)
        if result["evaluated_on"] == "validation":
            what = "accuracies" if score.name == "accuracy" else f"{score}"
            differs = [f"{what} on validation images", *differs]
        print(f"{result['recipe']:{width}} {len(result['seeds']):5} {result['epochs']:6} {cells}".rstrip())
        if differs:
            print(f"  with {'; '.join(differs)}")
        print(f"  in {', '.join(result['runs'])}")
    scores = " or ".join(dict.fromkeys(f"{score}{score.unit}" for score in map(headline_of, results)))
    told = "; ".join(f"{figure}, {meaning}" for figure, meaning in figures.items())
    print(f"{scores[0].upper()}{scores[1:]}: {told}")
    for line in comparisons(results):
        print(line.replace("`", ""))
