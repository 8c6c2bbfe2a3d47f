"""Evaluate the network of a finished run: accuracy, confusion and calibration, or the errors of predicted numbers."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinygrad_lab.inspect.estimates import RegressionReport
    from tinygrad_lab.inspect.prediction import Report

_MATRIX = 20  # largest number of classes for which the whole confusion matrix is printed
_CONFUSED = 10  # pairs of classes to print if the matrix is larger
_BRIEF = 3  # characters of the longest class name that fits above a column; longer names are numbered


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from tinygrad_lab.cli.predict import add_weights

    parser.add_argument("run", metavar="RUN", help="the run's folder")
    parser.add_argument("--dataset", metavar="NAME", help="another data set, with classes of the same names")
    parser.add_argument("--split", metavar="NAME", help="test or validation (default: test, if the recipe reads it)")
    parser.add_argument("--data", metavar="DIR", help="folder of data sets (default: the one used in training)")
    add_weights(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the figures."""
    from tinygrad_lab.inspect.run import load_run

    trained = load_run(arguments.run, weights=arguments.weights, device=arguments.device)
    report = trained.evaluate(arguments.dataset, split=arguments.split, root=arguments.data)
    if arguments.json:
        print(json.dumps({"run": str(trained.folder), "weights": trained.weights, **report.as_json()}, indent=2))
        return 0
    print(f"{report.data}, {len(report):,} {trained.noun}, {trained.weights} weights")
    if trained.targets:
        _print_errors(report)
        return 0
    print(f"accuracy: {report.accuracy:.2%}")
    if len(trained.classes) > 5:
        print(f"top-5 accuracy: {report.top(5):.2%}")
    print(f"calibration error: {report.calibration_error():.3f} (ECE of 15 bins, Guo et al. 2017)\n")
    _print_classes(report)
    return 0


def _print_errors(report: RegressionReport) -> None:
    """Print R² and the errors, over all targets and of each."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from tinygrad_lab.cli.summary import WIDTH
    from tinygrad_lab.inspect.estimates import SCORES

    table = Table("Target", *(Column(str(score), justify="right") for score in SCORES), box=None)
    names = report.estimate.names
    rows = [(name, report.scores(number)) for number, name in enumerate(names)]
    for name, found in [*rows, *([("all", report.scores())] if len(names) > 1 else [])]:
        table.add_row(escape(name), *(_error(score.name, found[score.name]) for score in SCORES))
    Console(width=WIDTH, highlight=False, emoji=False).print(table)
    print("MAE is the mean absolute error and RMSE the root mean squared error, in the target's units")


def _error(name: str, value: float) -> str:
    return f"{value:.4f}" if name == "r2" else f"{value:.4g}"


def _print_classes(report: Report) -> None:
    """Print the scores of each class, then the confusion matrix, or only its largest errors if it is large."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from tinygrad_lab.cli.summary import WIDTH

    names, console = report.prediction.names, Console(width=WIDTH, highlight=False, emoji=False)
    brief = max(map(len, names)) <= _BRIEF
    titles = names if brief else [f"{number} {name}" for number, name in enumerate(names)]
    scores = Table("Class", *(Column(head, justify="right") for head in ("Images", "Recall", "Precision")), box=None)
    for title, score in zip(titles, report.classes, strict=True):
        scores.add_row(escape(title), f"{score.images:,}", _percent(score.recall), _percent(score.precision))
    console.print(scores)
    if len(names) > _MATRIX:
        print("\nConfused most often:")
        for true, predicted, images in report.confused(_CONFUSED):
            print(f"  {true} taken for {predicted}: {images:,}")
        return
    heads = names if brief else map(str, range(len(names)))
    matrix = Table("True class", *(Column(escape(head), justify="right") for head in heads), box=None)
    for title, row in zip(titles, report.confusion.tolist(), strict=True):
        matrix.add_row(escape(title), *map(str, row))
    print("\nConfusion: images by true class (rows) and predicted class (columns)")
    console.print(matrix)


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.1%}"
