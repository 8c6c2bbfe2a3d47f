r"""Sphinx extension for formulas: LaTeX becomes MathML when the documentation is built.

Browsers set MathML themselves, so pages read without a network. Where there is one, MathJax sets it again, with better
fonts than many systems have. A formula that cannot be translated is a warning, with the commands that are unknown.
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
    """Write a formula that stands in a line of text."""
    self.body.append(translate(node.astext(), node, display=False))
    raise nodes.SkipNode


def visit_block(self: Any, node: nodes.math_block) -> None:
    """Write a formula that stands by itself; one of several lines is aligned at its ampersands."""
    latex = node.astext()
    if r"\\" in latex and r"\begin" not in latex:
        latex = rf"\begin{{aligned}} {{}} {latex} \end{{aligned}}"  # {}: lest a bracket be taken for an option
    self.body.append(f'<div class="formula">{translate(latex, node, display=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Offer the renderer; conf.py chooses it by html_math_renderer."""
    app.add_js_file(MATHJAX, loading_method="async")
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
