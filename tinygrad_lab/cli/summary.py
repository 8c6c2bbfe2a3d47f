"""Show a network's layers, shapes, parameters and multiply-adds, without running it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinygrad_lab.nn.layer import Layer

WIDTH = 200  # columns, so that no column is cut off; the terminal wraps longer lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_network(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or JSON."""
    from tinygrad_lab.inspect.summary import summarize

    model, image = chosen_network(arguments)
    summary = summarize(model, image, name=arguments.model)
    if arguments.json:
        print(json.dumps(summary.as_json(), indent=2))
    else:
        print_table(summary)
    return 0


def add_network(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that choose a network."""
    what = "a network's registered name, such as lenet5, a recipe's name or file, RECIPE:VARIANT, or a run's folder"
    parser.add_argument("model", help=what)
    how = "an option of the network (padding=none), or a setting of the recipe (model.padding=none)"
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE", help=how)


def chosen_network(arguments: argparse.Namespace) -> tuple[Layer, tuple[int, ...]]:
    """Return the network that the arguments choose, without weights, and the shape of its image.

    Raises
    ------
    PluginError, ConfigError, OptionError, ShapeError
        There is no such network or recipe, or an option is wrong.
    """
    from tinygrad_lab.inspect.trace import outline, outline_recipe
    from tinygrad_lab.registry import models
    from tinygrad_lab.train.recipe import find_recipe, recipe_names, split_name

    name = arguments.model
    if name in models:
        return outline(name, dict(map(option, arguments.set)))
    if (made_by := Path(name) / "recipe.json").is_file():
        name = str(made_by)
    base, variant = split_name(name)
    if variant is not None or base.endswith((".toml", ".json")) or base in recipe_names():
        return outline_recipe(find_recipe(name).override(arguments.set))
    return outline(name, dict(map(option, arguments.set)))


def option(setting: str) -> tuple[str, Any]:
    """Return the name and the value of ``name=value``; a value that is not TOML is text."""
    from tinygrad_lab.errors import ConfigError
    from tinygrad_lab.files.parsing import value_of

    name, equals, text = setting.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--set: expected option=value, such as classes=10, got {setting!r}")
    return name.strip(), value_of(text.strip(), "--set")


def print_table(summary: Any) -> None:
    """Print the summary of a network as a table."""
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
