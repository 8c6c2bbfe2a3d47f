"""Predict the classes of pictures with the network of a finished run."""

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

Row = list[tuple[str, float]]  # names of classes with their probabilities


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("run", metavar="RUN", help="the run's folder")
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="a picture, or a folder with pictures")
    parser.add_argument("--top", type=int, default=3, metavar="N", help="the N most probable classes (default: 3)")
    add_weights(parser)
    parser.add_argument("--json", action="store_true", help="print a list of objects")


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Declare the options for a command's weights and device."""
    which = "those that are best on the validation images, or those of the last epoch (default: best)"
    parser.add_argument("--weights", choices=("best", "last"), default="best", help=which)
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu, or cuda for an NVIDIA GPU (default: cpu)")


def run(arguments: argparse.Namespace) -> int:
    """Print the most probable classes of each picture."""
    from tinygrad_lab.errors import ConfigError
    from tinygrad_lab.inspect.run import load_run

    if arguments.top < 1:
        raise ConfigError(f"--top: expected 1 or more, got {arguments.top}")
    trained = load_run(arguments.run, weights=arguments.weights, device=arguments.device)
    trained.require_images()
    paths = list(_paths(arguments.pictures))
    found: list[Row | DataError] = []
    for first in range(0, len(paths), AT_ONCE):
        found += _predicted(trained, paths[first : first + AT_ONCE], arguments.top)
    rows = [(path, row) for path, row in zip(paths, found, strict=True) if not isinstance(row, DataError)]
    if arguments.json:
        told = [{"picture": str(path), "classes": _as_json(row)} for path, row in rows]
        print(json.dumps(told, indent=2))
    elif rows:
        _print_table(rows)
    errors = [error for error in found if isinstance(error, DataError)]
    for error in errors:
        print(f"tinygrad-lab predict: {error}", file=sys.stderr)
    if rows and errors:
        print(f"tinygrad-lab predict: {len(errors)} of {len(paths)} pictures could not be read", file=sys.stderr)
    return 1 if errors else 0


def _predicted(trained: Run, paths: list[Path], count: int) -> list[Row | DataError]:
    """Return the most probable classes of each picture, or the error if it cannot be read."""
    try:
        return [*trained.predict(paths).top(count)]
    except DataError as error:
        if len(paths) == 1:
            return [error]
    return [found for path in paths for found in _predicted(trained, [path], count)]


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


def _as_json(row: Row) -> list[dict[str, Any]]:
    return [{"name": name, "probability": probability} for name, probability in row]


def _print_table(rows: list[tuple[Path, Row]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from tinygrad_lab.cli.summary import WIDTH

    ranks = ["Class", *(f"{rank}." for rank in range(2, len(rows[0][1]) + 1))]
    columns = [column for rank in ranks for column in (Column(rank), Column("", justify="right", no_wrap=True))]
    table = Table(Column("Picture", overflow="fold"), *columns, box=None)
    for path, row in rows:
        cells = (text for name, probability in row for text in (escape(name), f"{100 * probability:.1f} %"))
        table.add_row(escape(str(path)), *cells)
    Console(width=WIDTH, highlight=False, emoji=False).print(table)
