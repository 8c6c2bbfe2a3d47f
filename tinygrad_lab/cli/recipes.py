"""List the recipes that `train` knows, or show the settings of one."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinygrad_lab.train.recipe import Recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    what = "a recipe's name, NAME:VARIANT or file, to show its settings with their origin (default: list all)"
    parser.add_argument("name", nargs="?", metavar="NAME", help=what)


def run(arguments: argparse.Namespace) -> int:
    """Print each recipe's name, title, source and variants, or one recipe with the origin of its settings."""
    from tinygrad_lab.registry import one_of
    from tinygrad_lab.train.recipe import find_recipe, recipe_names, recipe_text, split_name

    if arguments.name:
        name, variant = split_name(arguments.name)
        recipe = find_recipe(name)
        if variant is not None:
            one_of(variant, recipe.variants, f"variants of recipe {name!r}")
        text = recipe_text(name)
        print(*_marked(text, recipe, [variant] if variant else recipe.variants), sep="\n")
        return 0
    for name in recipe_names():
        recipe = find_recipe(name)
        about = recipe["recipe"]
        print(f"{name}\n  {about.get('title', '')}\n  source: {about.get('source', 'not stated')}")
        if recipe.variants:
            print(f"  variants: {', '.join(f'{name}:{variant}' for variant in recipe.variants)}")
    return 0


def _marked(text: str, recipe: Recipe, variants: list[str]) -> Iterator[str]:
    """Yield the lines of a recipe's file, with the chosen variants, each setting with its origin as a comment."""
    place, before = "", []  # comments and empty lines belong to the line after them
    for line in text.splitlines():
        if not line or line.startswith("#"):
            before.append(line)
            continue
        if header := re.fullmatch(r"\[+(.+?)\]+", line):
            place = header[1].replace('"', "")
        comments, before = before, []
        if place.startswith("variants.") and place.removeprefix("variants.") not in variants:
            continue
        yield from comments
        setting = re.match(r'"?([\w.]+)"? = "?([\w.]*)', line)
        if setting is None or place in ("", "recipe", "origin"):
            yield line
            continue
        key, value = setting.groups()
        if place.startswith("augment") and key == "name":
            place = f"augment.{value}"
        yield f"{line}  # {recipe.origin(f'{place}.{key}')}"
