"""List the recipes that `train` knows."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments: none."""


def run(arguments: argparse.Namespace) -> int:
    """Print each recipe's name, title and source."""
    from tinygrad_lab.train.recipe import find_recipe, recipe_names

    for name in recipe_names():
        about = find_recipe(name)["recipe"]
        print(f"{name}\n  {about.get('title', '')}\n  source: {about.get('source', 'not stated')}")
    return 0
