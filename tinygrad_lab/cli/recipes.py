"""List the recipes that `train` knows."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments: none."""


def run(arguments: argparse.Namespace) -> int:
    """Print each recipe's name, title, source and variants."""
    from tinygrad_lab.train.recipe import find_recipe, recipe_names

    for name in recipe_names():
        recipe = find_recipe(name)
        about = recipe["recipe"]
        print(f"{name}\n  {about.get('title', '')}\n  source: {about.get('source', 'not stated')}")
        if recipe.variants:
            print(f"  variants: {', '.join(f'{name}:{variant}' for variant in recipe.variants)}")
    return 0
