"""List the layers that are installed, and whether each can be used."""

from __future__ import annotations

import argparse
import json
import sys
from importlib.metadata import entry_points


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--json", action="store_true", help="print a list of objects")


def run(arguments: argparse.Namespace) -> int:
    """Print name, class, distribution, version and status of every layer."""
    from tinygrad_lab.registry import layers

    for name in misspelled_groups():
        print(f"warning: {name}", file=sys.stderr)
    rows = [
        {
            "name": name,
            "class": plugin.target,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "status": layers.status(name),
        }
        for name, plugins in layers.plugins().items()
        for plugin in plugins
    ]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return 0
    headings = {key: key.capitalize() for key in ("name", "class", "distribution", "version", "status")}
    widths = {key: max(len(row[key]) for row in [headings, *rows]) for key in headings}
    for row in [headings, *rows]:  # whole names even in a narrow terminal, so that they can be copied
        print("  ".join(row[key].ljust(width) for key, width in widths.items()).rstrip())
    return 0


def misspelled_groups() -> list[str]:
    """Return a warning for each entry point in an unknown group whose name begins with ``tinygrad_lab.``."""
    from tinygrad_lab import registry
    from tinygrad_lab.errors import hint

    known = [f"tinygrad_lab.{one.kind}" for one in vars(registry).values() if isinstance(one, registry.Registry)]
    return [
        f"{point.dist.name if point.dist else '?'} registers {point.name!r} in the unknown group {group!r}; "
        f"{hint(group, known)}"
        for group in entry_points().groups
        if group.startswith("tinygrad_lab.") and group not in known
        for point in entry_points(group=group)
    ]
