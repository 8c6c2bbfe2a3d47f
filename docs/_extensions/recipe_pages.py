"""Sphinx directives for recipes: ``recipe`` shows one with the origin of each setting, ``recipe-table`` lists all.

Recipes with results also get plots, on their own page and on the page of experiments. They are drawn from the files of
docs/results/experiments when the documentation is built.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from tinygrad_lab.files.writing import write_atomically
from tinygrad_lab.inspect.plots import Plot, draw_plots, plots
from tinygrad_lab.sphinx.restructured import ComposingDirective, code, escaped, literal, page_link, table
from tinygrad_lab.train import Recipe, find_recipe, recipe_names
from tinygrad_lab.train.results import read_results

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tinygrad_lab" / "recipes"
RESULTS = ROOT / "docs" / "results" / "experiments"
PAGE = "results/experiments/index"
TABLE = re.compile(r"^\| recipe \|.*\n\|---.*\n\| `(?P<recipe>[^`:]+).*\n(?:\|.*\n)*", re.MULTILINE)
MARKS = {"stated": "stated by the source", "inferred": "inferred from the source", "ours": "ours"}
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
            *self.composed("\n\n".join([*text, code(f"tinygrad-lab train {name}", "sh")])),
            *measured(name, self),
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


def measured(name: str, directive: ComposingDirective) -> list[nodes.Node]:
    """Return the plots of a recipe's results, and a link to the results, if it has any."""
    figures = drawn(name, directive.env)
    link = page_link(PAGE, "scores of this recipe")
    return [*directive.composed(f"Results: {link}."), *figures] if figures else []


class RecipePlotsDirective(ComposingDirective):
    """The plots of a recipe's results."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a figure for each plot."""
        return drawn(self.arguments[0], self.env)


def drawn(name: str, env: BuildEnvironment) -> list[nodes.Node]:
    """Return the plots of a recipe's results as figures, drawn into the folder of the build."""
    for file in (__file__, plots.__code__.co_filename, RESULTS, *RESULTS.glob("*.json")):
        env.note_dependency(str(file))
    done = {str(result["recipe"]): result for result in read_results(RESULTS)}
    wanted = [name, *(f"{name}:{variant}" for variant in find_recipe(name).variants)]
    return [figure(plot, env) for plot in plots(done[one] for one in wanted if one in done)]


def figure(plot: Plot, env: BuildEnvironment) -> nodes.figure:
    """Return a plot as a figure with its alternative text and its note."""
    content = draw_plots([plot], titles=False)
    folder = Path(env.doctreedir) / "plots"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{plot.kind}-{hashlib.sha256(content).hexdigest()[:16]}.svg"
    write_atomically(file, content)
    source = Path(env.doc2path(env.docname)).parent
    image = nodes.image(uri=Path(os.path.relpath(file, source)).as_posix(), alt=plot.text)
    return nodes.figure("", image, nodes.caption("", plot.note), classes=["plot"])


def place_plots(app: Sphinx, page: str, text: list[str]) -> None:
    """Add the plots of each recipe below its table on the page of experiments."""
    if page == PAGE:
        text[0] = TABLE.sub(lambda found: f"{found[0]}\n```{{recipe-plots}} {found['recipe']}\n```\n", text[0])


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
    app.add_directive("recipe-plots", RecipePlotsDirective)
    app.add_directive("recipe-table", RecipeTableDirective)
    app.connect("source-read", place_plots)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
