"""Predict the classes of pictures, or numbers from rows, with the network of a finished run."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygrad_lab.errors import DataError

if TYPE_CHECKING:
    from tinygrad_lab.inspect.run import Run

AT_ONCE = 256  # pictures in memory at a time
_TOP = 3

Row = list[tuple[str, float]]  # names of classes with their probabilities, or of targets with their numbers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("run", metavar="RUN", help="the run's folder")
    what = "a picture or a folder of them; for a network of rows or sequences, a CSV file"
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help=what)
    parser.add_argument("--top", type=int, metavar="N", help="show the N most probable classes (default: 3)")
    add_weights(parser)
    parser.add_argument("--json", action="store_true", help="print a list of objects")


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Declare the options for a command's weights and device."""
    which = "those that are best on the validation images, or those of the last epoch (default: best)"
    parser.add_argument("--weights", choices=("best", "last"), default="best", help=which)
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu, or cuda for an NVIDIA GPU (default: cpu)")


def run(arguments: argparse.Namespace) -> int:
    """Print the most probable classes, or the predicted numbers, of each picture or row."""
    from tinygrad_lab.errors import ConfigError
    from tinygrad_lab.inspect.run import load_run

    if arguments.top is not None and arguments.top < 1:
        raise ConfigError(f"--top: expected 1 or more, got {arguments.top}")
    trained = load_run(arguments.run, weights=arguments.weights, device=arguments.device)
    if trained.targets and arguments.top is not None:
        raise ConfigError(f"--top: expected a network that predicts classes, got {trained!r}; leave it out")
    given: list[Any]
    if trained.noun in ("rows", "sequences"):
        kind = "row" if trained.noun == "rows" else "sequence"
        given, shown = _read_lines(arguments.pictures, whole=trained.noun == "sequences")
    else:
        trained.require_images()
        kind, given = "picture", list(_paths(arguments.pictures))
        shown = list(map(str, given))
    found: list[Row | DataError] = []
    for first in range(0, len(given), AT_ONCE):
        found += _predicted(trained, given[first : first + AT_ONCE], arguments.top or _TOP)
    rows = [(name, row) for name, row in zip(shown, found, strict=True) if not isinstance(row, DataError)]
    if arguments.json:
        print(json.dumps([{kind: name, **_as_json(row, trained.targets)} for name, row in rows], indent=2))
    elif rows and trained.targets:
        _print_numbers(kind, rows)
    elif rows:
        _print_table(kind, rows)
    errors = [error for error in found if isinstance(error, DataError)]
    for error in errors:
        print(f"tinygrad-lab predict: {error}", file=sys.stderr)
    if rows and errors:
        print(f"tinygrad-lab predict: {len(errors)} of {len(given)} pictures could not be read", file=sys.stderr)
    return 1 if errors else 0


def _predicted(trained: Run, given: list[Any], count: int) -> list[Row | DataError]:
    """Return the most probable classes or the numbers of each example, or the error if a picture cannot be read."""
    try:
        found = trained.predict(given)
        if trained.targets:
            return [list(zip(trained.targets, row, strict=True)) for row in found.values.tolist()]
        return [*found.top(count)]
    except DataError as error:
        if len(given) == 1:
            return [error]
    return [found for one in given for found in _predicted(trained, [one], count)]


def _read_lines(paths: list[str], *, whole: bool) -> tuple[list[list[float]], list[str]]:
    """Return the numbers in each line of CSV files, and the place of each line; a first line of titles is left out."""
    import csv

    from tinygrad_lab.files.parsing import read_text

    number: Any = int if whole else float
    lines, places = [], []
    for path in paths:
        found = csv.reader(read_text(Path(path), "predict").splitlines())
        table = [(line, cells) for line, cells in enumerate(found, 1) if cells]
        for place, (line, cells) in enumerate(table):
            try:
                lines.append([number(cell) for cell in cells])
            except ValueError:
                if place == 0 and not any(_is_number(cell) for cell in cells):
                    continue  # titles
                what = "whole numbers" if whole else "numbers"
                raise DataError(f"{path}: line {line}: expected {what} with commas between them, got {cells}") from None
            places.append(f"{path}:{line}")
        if not table or (len(table) == 1 and not lines):
            raise DataError(f"{path}: expected a line of numbers with commas between them for each example, found none")
    return lines, places


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _paths(given: list[str]) -> Iterator[Path]:
    """Yield the pictures that were named, and those in the folders that were named."""
    from tinygrad_lab.data.sources.image_folder import find_pictures

    for path in map(Path, given):
        if not path.is_dir():
            yield path
        elif found := find_pictures(path):
            yield from found
        else:
            raise DataError(f"{path}: expected pictures such as *.png or *.jpg in this folder, found none")


def _as_json(row: Row, targets: tuple[str, ...]) -> dict[str, Any]:
    if targets:
        return {"targets": dict(row)}
    return {"classes": [{"name": name, "probability": probability} for name, probability in row]}


def _print_numbers(kind: str, rows: list[tuple[str, Row]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from tinygrad_lab.cli.summary import WIDTH

    columns = (Column(escape(target), justify="right") for target, _ in rows[0][1])
    table = Table(Column(kind.capitalize(), overflow="fold"), *columns, box=None)
    for name, row in rows:
        table.add_row(escape(name), *(f"{value:.5g}" for _, value in row))
    Console(width=WIDTH, highlight=False, emoji=False).print(table)


def _print_table(kind: str, rows: list[tuple[str, Row]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from tinygrad_lab.cli.summary import WIDTH

    ranks = ["Class", *(f"{rank}." for rank in range(2, len(rows[0][1]) + 1))]
    columns = [column for rank in ranks for column in (Column(rank), Column("", justify="right", no_wrap=True))]
    table = Table(Column(kind.capitalize(), overflow="fold"), *columns, box=None)
    for shown, row in rows:
        cells = (text for name, probability in row for text in (escape(name), f"{100 * probability:.1f} %"))
        table.add_row(escape(shown), *cells)
    Console(width=WIDTH, highlight=False, emoji=False).print(table)
