"""Helpers for directives that compose reStructuredText, on Markdown and reStructuredText pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

FENCE = "`" * 9  # longer than any fence in the text


class ComposingDirective(SphinxDirective):
    """A directive whose content is written in reStructuredText."""

    def composed(self, text: str) -> list[nodes.Node]:
        """Return the nodes of a text."""
        if type(self.state).__module__.startswith("myst"):
            text = f"{FENCE}{{eval-rst}}\n{text}\n{FENCE}\n"
        made: list[nodes.Node] = self.parse_text_to_nodes(text)
        return made

    def section(self, title: str, *content: str | nodes.Node) -> nodes.section:
        """Return a section of texts and nodes; its heading shows in the page's table of contents."""
        made = nodes.section("", nodes.title(title, title), ids=[nodes.make_id(title)])
        for part in content:
            made += self.composed(part) if isinstance(part, str) else [part]
        return made


def html(text: str) -> nodes.raw:
    """Return HTML as a node."""
    return nodes.raw("", text, format="html")


def indented(text: str, by: int = 3) -> str:
    """Return an indented text."""
    return "\n".join(" " * by + line if line else line for line in text.splitlines())


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], *, classes: str = "", numbers: Sequence[int] = ()) -> str:
    """Return a table; the columns in `numbers` are aligned to the right. A cell may have several lines."""
    lines = [".. list-table::", f"   :header-rows: {1 if head else 0}", f"   :class: {classes or 'plain'}", ""]
    for row in [*([head] if head else []), *rows]:
        for number, cell in enumerate(row):
            text = str(cell) or "\\ "
            if number in numbers and str(cell):
                text = f":right:`{text}`"
            first, *rest = text.splitlines()
            lines += [f"   {'*' if number == 0 else ' '} - {first}", *(f"       {line}" for line in rest)]
    return "\n".join([*lines, ""])


def code(text: str, language: str = "text") -> str:
    """Return a block of code."""
    return f".. code-block:: {language}\n\n{indented(text.rstrip())}\n"


def escaped(text: str) -> str:
    """Return plain text with its markup characters escaped."""
    return re.sub(r"([\\`*_|<>])", r"\\\1", text)


def literal(text: Any) -> str:
    """Return a text in the font of code."""
    return f":code:`{str(text).replace(chr(92), chr(92) * 2).replace('`', chr(92) + '`')}`" if str(text) else ""


def page_link(target: str, title: str) -> str:
    """Return a link to a page, given from the top of the documentation."""
    return f":doc:`{title} </{target}>`"
