"""Write a complete distribution with a new layer, the short form of `new-plugin --kind layer`."""

from __future__ import annotations

import argparse

from tinygrad_lab.cli import new_plugin


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    new_plugin.add_names(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the files, and print what to do next."""
    arguments.kind = "layer"
    return new_plugin.run(arguments)
