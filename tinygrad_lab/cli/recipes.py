"""List the recipes that `train` knows, or show the settings of one."""

from __future__ import annotations

import argparse
from importlib import resources


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="the recipe to show, in TOML; without one: list all")


def run(arguments: argparse.Namespace) -> int:
    """Print each recipe's name, title, source and variants, or one recipe as it is shipped."""
    from tinygrad_lab.registry import one_of
    from tinygrad_lab.train.recipe import find_recipe, recipe_names

    if arguments.name:
        one_of(arguments.name, recipe_names(), "recipe")
        text = (resources.files("tinygrad_lab") / "recipes" / f"{arguments.name}.toml").read_text(encoding="utf-8")
        print(text, end="")
        return 0
    for name in recipe_names():
        recipe = find_recipe(name)
        about = recipe["recipe"]
        print(f"{name}\n  {about.get('title', '')}\n  source: {about.get('source', 'not stated')}")
        if recipe.variants:
            print(f"  variants: {', '.join(f'{name}:{variant}' for variant in recipe.variants)}")
    return 0
