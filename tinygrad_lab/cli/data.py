"""List, fetch and verify data sets."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

_DIR = "folder of data sets (default: TINYGRAD_LAB_DATA, then the user's cache folder)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list the data sets, with the folders of those that are on this machine")
    fetch = actions.add_parser("fetch", help="download a data set, or the rest of one, and verify it")
    verify = actions.add_parser(
        "verify", help="compare a data set's files with their published checksums, and read them"
    )
    for action in (fetch, verify):
        action.add_argument("name", help="the data set's name, such as cifar10")
    for action in (listing, fetch, verify):
        action.add_argument("--data", metavar="DIR", help=_DIR)
    for action in (listing, verify):
        action.add_argument("--json", action="store_true", help="print only JSON")
    fetch.add_argument("--quiet", action="store_true", help="show no progress")


def run(arguments: argparse.Namespace) -> int:
    """Run the subcommand; the exit status is 1 if a data set does not pass."""
    return {"list": _list, "fetch": _fetch, "verify": _verify}[arguments.action](arguments)


def _list(arguments: argparse.Namespace) -> int:
    from tinygrad_lab.data import listing

    if arguments.data is not None and not Path(arguments.data).is_dir():
        print(f"tinygrad-lab data: the folder {arguments.data} does not exist", file=sys.stderr)
    found = listing(root=arguments.data)
    if arguments.json:
        _print_json([asdict(entry) for entry in found])
        return 0
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    table = Table("Name", "Images", "Download", Column("Where", overflow="fold"), "What", box=None)
    for entry in found:
        images = " + ".join(f"{count:,}" for count in entry.images.values())
        size = f"{entry.download / 1e6:,.0f} MB" if entry.download else "none"
        where = str(entry.root or ("not here" if entry.download else ""))
        table.add_row(*map(escape, (entry.name, images, size, where, entry.problem or entry.title)))
    Console(soft_wrap=True, emoji=False).print(table)
    return 0


def _fetch(arguments: argparse.Namespace) -> int:
    from tinygrad_lab.data import fetch

    with _progress(arguments.quiet) as progress:
        folder = fetch(arguments.name, root=arguments.data, progress=progress)
    print(f"{arguments.name}: complete, in {folder}")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from tinygrad_lab.data import verify

    found = verify(arguments.name, root=arguments.data)
    if arguments.json:
        _print_json({**asdict(found), "ok": found.ok})
        return 0 if found.ok else 1
    for file in found.files:
        print(f"{file.path}: {file.state}")
    for split, count in found.images.items():
        print(f"{split}: {count:,} images")
    problem = (found.problem or "damaged").removeprefix(f"{found.name}: ")
    print(f"{found.name}: {'complete and right' if found.ok else problem}")
    return 0 if found.ok else 1


@contextmanager
def _progress(quiet: bool) -> Iterator[Any]:
    """Yield a function that shows the progress of each file: a bar in a terminal, elsewhere a line when it is done."""
    if quiet or not sys.stderr.isatty():
        yield lambda name, done, total: None if quiet or done < total else print(f"{name}: {done:,} bytes")
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        yield show


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str))
