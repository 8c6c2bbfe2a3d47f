"""Predict the classes of pictures with the network of a finished run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

AT_ONCE = 256  # pictures in memory at a time


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
    rows: list[list[tuple[str, float]]] = []
    for first in range(0, len(paths), AT_ONCE):
        rows += trained.predict(paths[first : first + AT_ONCE]).top(arguments.top)
    if arguments.json:
        told = [{"picture": str(path), "classes": _as_json(row)} for path, row in zip(paths, rows, strict=True)]
        print(json.dumps(told, indent=2))
    else:
        _print_table(paths, rows)
    return 0


def _paths(given: list[str]) -> Iterator[Path]:
    """Yield the pictures that were named, and those in the folders that were named."""
    from tinygrad_lab.data.sources.image_folder import find_pictures
    from tinygrad_lab.errors import DataError

    for path in map(Path, given):
        if not path.is_dir():
            yield path
        elif found := find_pictures(path):
            yield from found
        else:
            raise DataError(f"{path}: expected pictures such as *.png or *.jpg in this folder, found none")


def _as_json(row: list[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"name": name, "probability": probability} for name, probability in row]


def _print_table(paths: list[Path], rows: list[list[tuple[str, float]]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from tinygrad_lab.cli.summary import WIDTH

    ranks = ["Class", *(f"{rank}." for rank in range(2, len(rows[0]) + 1))]
    columns = [column for rank in ranks for column in (Column(rank), Column("", justify="right", no_wrap=True))]
    table = Table(Column("Picture", overflow="fold"), *columns, box=None)
    for path, row in zip(paths, rows, strict=True):
        cells = (text for name, probability in row for text in (escape(name), f"{100 * probability:.1f} %"))
        table.add_row(escape(str(path)), *cells)
    Console(width=WIDTH, highlight=False, emoji=False).print(table)
