r"""Sphinx extension for formulas: translates LaTeX to MathML when the documentation is built.

Browsers render MathML themselves, so pages need no network. With a network, MathJax renders the formulas again. A
formula that cannot be translated gives a warning with its unknown commands.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)
MATHJAX = "https://cdn.jsdelivr.net/npm/mathjax@3/es5/mml-chtml.js"
UNKNOWN = re.compile(r"<mi>(\\[A-Za-z]+)</mi>")


def translate(latex: str, node: nodes.Element, *, display: bool) -> str:
    """Return a formula in MathML."""
    try:
        markup = convert(latex, display="block" if display else "inline")
    except Exception as error:
        logger.warning("a formula that cannot be set: %s (%s)", latex, type(error).__name__, location=node)
        return ""
    if unknown := UNKNOWN.findall(markup):
        logger.warning("a formula with unknown commands %s: %s", unknown, latex, location=node)
    return markup


def visit_inline(self: Any, node: nodes.math) -> None:
    """Write an inline formula."""
    self.body.append(translate(node.astext(), node, display=False))
    raise nodes.SkipNode


def visit_block(self: Any, node: nodes.math_block) -> None:
    """Write a display formula; several lines are aligned at their ampersands."""
    latex = node.astext()
    if r"\\" in latex and r"\begin" not in latex:
        latex = rf"\begin{{aligned}} {{}} {latex} \end{{aligned}}"  # {}: a bracket here would be read as an option
    self.body.append(f'<div class="formula">{translate(latex, node, display=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer, which conf.py selects with html_math_renderer."""
    app.add_js_file(MATHJAX, loading_method="async")
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
