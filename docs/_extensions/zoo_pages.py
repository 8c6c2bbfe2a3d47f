"""Sphinx directives for networks: ``model`` shows a drawing and a table of one, ``model-table`` lists all."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from tinygrad_lab.inspect import draw_model, summarize_model
from tinygrad_lab.registry import models
from tinygrad_lab.sphinx.figures import figure
from tinygrad_lab.sphinx.layer_pages import shape_text
from tinygrad_lab.sphinx.restructured import ComposingDirective, html, indented, literal, page_link, table

ZOO = Path(inspect.getsourcefile(summarize_model) or "").parents[1] / "zoo"


def source_of(name: str) -> Path:
    """Return the file that defines a registered network."""
    make = models[name]
    return Path(inspect.getsourcefile(make.func if isinstance(make, partial) else make) or "")


class ModelDirective(ComposingDirective):
    """A registered network: its numbers, its drawing, and its layers in a table."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a line of numbers, the drawing and the table."""
        name = self.arguments[0]
        for path in (*Path(__file__).parent.glob("*.py"), *ZOO.glob("*.py")):
            self.env.note_dependency(str(path))
        summary = summarize_model(name)
        rows = [
            (row.name, literal(row.kind), shape_text(row.output_shape), f"{row.parameters:,}", f"{row.multiply_adds:,}")
            for row in summary.layers
        ]
        head = ("Layer", "Kind", "Output", "Parameters", "Multiply-adds")
        text = (
            f"\n{shape_text(summary.layers[0].output_shape)} to {shape_text(summary.layers[-1].output_shape)}: "
            f"{summary.total_parameters:,} parameters, {summary.multiply_adds:,} multiply-adds per image, "
            f"a depth of {summary.depth} convolutions and dense layers, "
            f"{summary.activation_memory / 2**20:,.1f} MiB of activations per image in float32. "
            f"``tinygrad-lab summary {name}`` and ``tinygrad-lab draw {name}`` show these for any options.\n\n"
        )
        layers = f".. dropdown:: The layers of {name}\n\n{indented(table(head, rows, numbers=(3, 4)))}\n"
        return [*self.composed(text), html(figure(draw_model(name).svg)), *self.composed(layers)]


class ModelTableDirective(ComposingDirective):
    """All networks of this distribution, with their numbers."""

    def run(self) -> list[nodes.Node]:
        """Return a table with a row for each network."""
        for path in (__file__, *map(str, ZOO.glob("*.py"))):
            self.env.note_dependency(str(path))
        rows = []
        for name, plugins in models.plugins().items():
            if plugins[0].distribution != "tinygrad-lab":
                continue
            summary = summarize_model(name)
            page = page_link(f"reference/generated/models/{source_of(name).stem}", name)
            image = shape_text(summary.layers[0].output_shape)
            numbers = (f"{summary.depth}", f"{summary.total_parameters:,}", f"{summary.multiply_adds:,}")
            rows.append((page, image, *numbers))
        head = ("Network", "Image", "Depth", "Parameters", "Multiply-adds per image")
        return self.composed(table(head, rows, numbers=(2, 3, 4)))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("model", ModelDirective)
    app.add_directive("model-table", ModelTableDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
