"""Sphinx directives for recipes: ``recipe`` shows one with the origin of each setting, ``recipe-table`` lists all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from tinygrad_lab.sphinx.restructured import ComposingDirective, code, escaped, literal, page_link, table
from tinygrad_lab.train import Recipe, find_recipe, recipe_names

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tinygrad_lab" / "recipes"
RESULTS = ROOT / "docs" / "results" / "experiments"
MARKS = {"stated": "stated by the source", "inferred": "inferred from it", "ours": "ours"}
SETTINGS = ("model", "data", "loss", "optimizer", "schedule", "training", "transfer")


class RecipeDirective(ComposingDirective):
    """A recipe: its source, every setting with its origin, the variants, and the file."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the page below its title."""
        name = self.arguments[0]
        self.env.note_dependency(str(FOLDER / f"{name}.toml"))
        self.env.note_dependency(__file__)
        recipe = find_recipe(name)
        about = recipe["recipe"]
        text = [f":doc:`Source </reference/sources>`: {escaped(about.get('source', 'not stated'))}."]
        if "published" in about:
            text.append(f"*Published*: {escaped(about['published'])}.")
        if "remark" in about:
            text.append(f"{escaped(about['remark'])}.")
        rows = settings(recipe)
        head = ("Setting", "Value", "Origin")
        lead = (
            "A setting is *stated* by the source, *inferred* from it, or *ours*. "
            "``--set table.key=value`` replaces a setting.\n\n"
        )
        return [
            *self.composed("\n\n".join([*text, code(f"tinygrad-lab train {name}", "sh"), measured(name, self.env)])),
            self.section("Settings", lead + table(head, rows, classes="settings")),
            *([self.section("Variants", variants(recipe))] if recipe.variants else []),
            self.section("The file", code((FOLDER / f"{name}.toml").read_text(encoding="utf-8"), "toml")),
        ]


def settings(recipe: Recipe) -> list[tuple[str, str, str]]:
    """Return each setting with its value and its origin."""
    rows = []
    for kind in SETTINGS:
        for key, value in recipe[kind].items():
            path = f"{kind}.{key}"
            rows.append((literal(path), literal(json.dumps(value)), MARKS[recipe.origin(path)]))
    for step in recipe.augment:
        for key, value in step.items():
            path = f"augment.{step['name']}.{key}"
            rows.append((literal(path), literal(json.dumps(value)), MARKS[recipe.origin(path)]))
    return rows


def variants(recipe: Recipe) -> str:
    """Return a table of the variants: each changed setting, and its origin."""
    rows = []
    for variant in recipe.variants:
        for path, value in recipe["variants"][variant].items():
            mark = MARKS[recipe.origin(f"variants.{variant}.{path}")]
            rows.append((literal(f"{recipe.name}:{variant}"), literal(f"{path} = {json.dumps(value)}"), mark))
    return table(("Recipe", "Changed setting", "Origin"), rows)


def measured(name: str, env: Any) -> str:
    """Return a link to the results if the recipe has any."""
    env.note_dependency(str(RESULTS))
    found = [path for path in RESULTS.glob("*.json") if path.stem.partition("-")[0].partition(":")[0] == name]
    return f"\nResults: {page_link('results/experiments/index', 'accuracy of this recipe')}.\n" if found else ""


class RecipeTableDirective(ComposingDirective):
    """All recipes."""

    def run(self) -> list[nodes.Node]:
        """Return a table with a row for each recipe."""
        self.env.note_dependency(__file__)
        rows = []
        for name in recipe_names():
            self.env.note_dependency(str(FOLDER / f"{name}.toml"))
            recipe = find_recipe(name)
            page = page_link(f"reference/generated/recipes/{name}", name)
            about, data, training = recipe["recipe"], recipe["data"], recipe["training"]
            what = f"{page}\n\n{escaped(about.get('title', ''))}"
            names = (literal(recipe["model"]["name"]), literal(data["name"]))
            rows.append((what, *names, training["epochs"], str(1 + len(recipe.variants))))
        head = ("Recipe", "Network", "Data", "Epochs", "Variants")
        return self.composed(table(head, rows, classes="recipes", numbers=(3, 4)))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("recipe", RecipeDirective)
    app.add_directive("recipe-table", RecipeTableDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
