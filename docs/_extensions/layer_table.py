"""Sphinx directive ``layer-table``: the layers of a group, each with a link and a sentence."""

from __future__ import annotations

import inspect
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from tinygrad_lab import registry
from tinygrad_lab.sphinx.layer_pages import first_sentence
from tinygrad_lab.sphinx.restructured import ComposingDirective, page_link, table


class LayerTableDirective(ComposingDirective):
    """The layers of a group, with a sentence on each."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return a table with a row for each layer."""
        rows = []
        for name in self.arguments[0].split():
            cls = registry.layers[name]
            self.env.note_dependency(str(inspect.getsourcefile(cls)))
            rows.append((page_link(f"reference/generated/layers/{name}", name), first_sentence(cls.__doc__ or "")))
        return self.composed(table(("Layer", "What it does"), rows))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("layer-table", LayerTableDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
