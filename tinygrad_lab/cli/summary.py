"""Show a network's layers, shapes, parameters and multiply-adds, without running it."""

from __future__ import annotations

import argparse
import json
from typing import Any

WIDTH = 200  # columns, so that no column is cut off; the terminal wraps longer lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", help="a network's registered name, such as lenet5 or vgg16")
    parser.add_argument(
        "--set", action="append", default=[], metavar="OPTION=VALUE", help="an option of the network: padding=none"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or JSON."""
    from tinygrad_lab.inspect.summary import summarize_model

    expect_network(arguments.model)
    summary = summarize_model(arguments.model, dict(option(setting) for setting in arguments.set))
    if arguments.json:
        print(json.dumps(summary.as_json(), indent=2))
    else:
        _print_table(summary)
    return 0


def expect_network(name: str) -> None:
    """Check that a name is not the name of a recipe.

    Raises
    ------
    ConfigError
        The name is that of a TOML file, or of a recipe and not also of a network.
    """
    from tinygrad_lab.errors import ConfigError
    from tinygrad_lab.registry import models
    from tinygrad_lab.train.recipe import recipe_names

    if name not in models and (name.endswith(".toml") or name in recipe_names()):
        raise ConfigError(
            f"expected the name of a network, such as lenet5, got {name!r}; this is a recipe: use the network named in "
            "its [model] table"
        )


def option(setting: str) -> tuple[str, Any]:
    """Return the name and the value of ``name=value``; a value that is not TOML is text."""
    from tinygrad_lab.errors import ConfigError
    from tinygrad_lab.files.parsing import value_of

    name, equals, text = setting.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--set: expected option=value, such as classes=10, got {setting!r}")
    return name.strip(), value_of(text.strip(), "--set")


def _print_table(summary: Any) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    numbers = (Column(title, justify="right", no_wrap=True) for title in ("Parameters", "Multiply-adds"))
    table = Table(Column("Layer (kind)", no_wrap=True), Column("Output", no_wrap=True), *numbers, box=None)
    for row in summary.layers:
        shape = ", ".join(map(str, row.output_shape))
        table.add_row(escape(f"{row.name} ({row.kind})"), shape, f"{row.parameters:,}", f"{row.multiply_adds:,}")
    console = Console(width=WIDTH, highlight=False)
    console.print(summary.model, style="bold", markup=False)
    console.print(table)
    print(f"Total parameters: {summary.total_parameters:,}")
    print(f"Trainable parameters: {summary.trainable_parameters:,}")
    print(f"Non-trainable parameters: {summary.non_trainable_parameters:,}")
    print(f"Multiply-adds: {summary.multiply_adds:,} per image")
    print(f"Activations: {_binary(summary.activation_memory)} per image, in float32")
    print(f"Depth: {summary.depth} convolutions and dense layers")


def _binary(size: int) -> str:
    """Return a number of bytes in KiB or MiB."""
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size / 2**10:,.1f} KiB"
