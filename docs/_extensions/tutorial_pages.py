"""Sphinx extension for the tutorials, which are notebooks written as text outside of docs/.

- `tutorials/` is mirrored into `docs/tutorials`, which git ignores and a toctree can reach.
- Each page becomes a downloadable notebook, in Markdown that plain Jupyter renders.
- The directive ``tutorial`` at the top of a page states prerequisites and time.
- Results are cached until the page's code or the packages change; see `execution`.
- A figure without alternative text gives a warning, and so does a cell that prints to standard error.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import nbformat
import numpy as np
from docutils import nodes
from docutils.parsers.rst import directives
from myst_nb.core.read import read_myst_markdown_notebook
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
PAGE = re.compile(r"\d\d[a-z]?_\w+\.md")
NOTEBOOKS = "_notebooks"  # below docs/tutorials; conf.py excludes it from the pages
SWITCH = "TINYGRAD_LAB_TUTORIALS"
MODES = ("", "full", "off")
logger = logging.getLogger(__name__)


class TutorialDirective(SphinxDirective):
    """The box at the top of a tutorial: prerequisites, outcome, time, and the notebook to download.

    The content states the outcome, ``:needs:`` the prerequisites, ``:minutes:`` the time for reading and trying, and
    ``:full:`` the effect of TINYGRAD_LAB_TUTORIALS=full, if any.
    """

    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {
        "needs": directives.unchanged_required,
        "minutes": directives.positive_int,
        "full": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        """Return an admonition with a line for prerequisites, outcome, time and, if given, the full run."""
        if missing := {"needs", "minutes"} - self.options.keys():
            raise self.error(f"tutorial: expected the options needs and minutes, missing {sorted(missing)}")
        name = Path(self.env.docname).name
        lines = [
            f"**You need** {self.options['needs']}",
            f"**You get** {' '.join(self.content)}",
            f"**Time** {self.options['minutes']} minutes, including experiments of your own. "
            f"{{download}}`This page as a notebook <{NOTEBOOKS}/{name}.ipynb>`.",
        ]
        if "full" in self.options:
            lines.append(f"**In full** `{SWITCH}=full`: {self.options['full']}")
        box = nodes.admonition(classes=["tutorial-head"])
        box += nodes.title("", "Before you start")
        for line in lines:
            box += self.parse_text_to_nodes(line)
        return [box]


def execution(app: Sphinx, config: Any) -> None:
    """Choose whether notebooks run and where their results are cached.

    The results of a page depend on its code and on the packages. jupyter-cache compares only the code, so each state of
    the packages has its own cache. Older caches are removed.
    """
    mode = os.environ.get(SWITCH, "")
    if mode not in MODES:
        raise ValueError(f"{SWITCH}: expected one of {MODES}, got {mode!r}")
    if mode == "off":
        config.nb_execution_mode = "off"
        config.suppress_warnings = [*config.suppress_warnings, "myst-nb.lexer"]  # only a kernel names it
        return
    caches = Path(app.outdir).parent / ".jupyter_cache"
    current = caches / f"{packages_digest()}{'-full' if mode else ''}"
    for old in caches.glob("*") if caches.exists() else ():
        if old.is_dir() and old != current:
            shutil.rmtree(old)
    config.nb_execution_cache_path = str(current)
    if mode == "full":
        config.nb_execution_timeout = -1


def packages_digest() -> str:
    """Return a digest of the packages, of the results that pages quote, and of the versions of Python and NumPy."""
    digest = hashlib.blake2b(f"{sys.version_info[:2]} {np.__version__}".encode(), digest_size=8)
    folders = (ROOT / "tinygrad_lab", ROOT / "layers" / "tinygrad_lab_layers", ROOT / "docs" / "results")
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md":
            digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def mirror(app: Sphinx) -> None:
    """Copy tutorials/ into docs/tutorials and write notebooks; unchanged pages keep their timestamps."""
    source, target = ROOT / "tutorials", Path(app.srcdir) / "tutorials"
    skipped = {path.parent for path in source.rglob("pyproject.toml")}  # example distributions: code, not pages
    pages = {
        path.relative_to(source)
        for path in source.rglob("*")
        if path.is_file() and skipped.isdisjoint(path.parents) and "__pycache__" not in path.parts
    }
    notebooks = {Path(NOTEBOOKS, f"{page.stem}.ipynb"): page for page in pages if PAGE.fullmatch(page.name)}
    for path in [path for path in target.rglob("*") if path.is_file()]:
        if path.relative_to(target) not in pages | notebooks.keys():
            path.unlink()
    for page in pages:
        if newer(source / page, target / page):
            (target / page).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / page, target / page)
    for notebook, page in notebooks.items():
        if newer(source / page, target / notebook) or newer(Path(__file__), target / notebook):
            (target / notebook).parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(as_notebook((source / page).read_text(encoding="utf-8")), target / notebook)


def newer(original: Path, copy: Path) -> bool:
    """Return whether a copy is missing or older than the original."""
    return not copy.exists() or copy.stat().st_mtime_ns < original.stat().st_mtime_ns


def as_notebook(text: str) -> nbformat.NotebookNode:
    """Return a page as a notebook without results, in Markdown that plain Jupyter renders."""
    notebook = read_myst_markdown_notebook(text)
    for cell in notebook.cells:
        cell.metadata.pop("mystnb", None)
        if cell.cell_type == "markdown":
            cell.source = plain_markdown(cell.source)
    return notebook


FENCE = re.compile(r"(?P<marks>`{3,}|:{3,})(?:\{(?P<name>[\w-]+)\})?(?P<argument>.*)")
OPTION = re.compile(r":(?P<name>[\w-]+):\s*(?P<value>.*)")
ROLE = re.compile(r"\{[\w:-]+\}`(?P<text>[^`<]*?)(?P<target>\s*<[^`]*>)?`")


def plain_markdown(text: str) -> str:
    """Return MyST text with its directives and roles replaced with plain Markdown and HTML."""
    return "\n".join(plain_lines(iter(text.splitlines()))).strip()


def plain_lines(lines: Iterator[str], closing: str | None = None) -> Iterator[str]:
    """Yield lines in plain Markdown, up to a closing fence if one is given."""
    for line in lines:
        if closing and line.strip() == closing:
            return
        fence = FENCE.fullmatch(line)
        if fence is None:
            yield plain_text(line)
        elif fence["name"] is None:
            yield from (line, *verbatim(lines, fence["marks"]), fence["marks"])
        else:
            yield from directive_lines(fence["name"], fence["argument"].strip(), lines, fence["marks"])


def plain_text(text: str) -> str:
    """Return text without roles, and with links to the notebooks of other pages."""
    return ROLE.sub(lambda m: m["text"] if m["target"] else f"`{m['text']}`", text).replace(".md)", ".ipynb)")


def verbatim(lines: Iterator[str], closing: str) -> list[str]:
    """Return the lines up to a closing fence."""
    return list(iter(lines.__next__, closing))


def directive_lines(name: str, argument: str, lines: Iterator[str], closing: str) -> Iterator[str]:
    """Yield a directive in plain Markdown."""
    content = verbatim(lines, closing)
    options = {}
    while content and (option := OPTION.fullmatch(content[0])):
        options[option["name"]] = option["value"].strip("\"'")
        content = content[1:]
    inner = plain_lines(iter(content))
    if name == "literalinclude":
        yield from ("```python", *included(argument, options).splitlines(), "```")
    elif name == "math":
        yield from ("$$", *content, "$$")
    elif name == "dropdown":
        yield from ("<details>", f"<summary>{argument}</summary>", "", *inner, "", "</details>")
    elif name == "tutorial":
        yield from (f"*You need* {plain_text(options['needs'])}  ", f"*You get* {' '.join(inner).strip()}")
    else:
        yield from (f"> {line}".rstrip() for line in (f"**{argument or name.capitalize()}**", "", *inner))


def included(path: str, options: dict[str, str]) -> str:
    """Return the text of a literalinclude: one definition (pyobject), or the lines between two markers."""
    lines = (ROOT / "docs" / path.removeprefix("/")).read_text(encoding="utf-8").splitlines()
    if name := options.get("pyobject"):
        node: Any = ast.parse("\n".join(lines))
        for part in name.split("."):
            node = next(child for child in node.body if getattr(child, "name", None) == part)
        lines = lines[min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1 : node.end_lineno]
    for option, skipped in (("start-at", 0), ("start-after", 1)):
        if option in options:
            lines = lines[first_with(options[option], lines) + skipped :]
    for option, skipped in (("end-at", 1), ("end-before", 0)):
        if option in options:
            lines = lines[: first_with(options[option], lines) + skipped]
    head = [options["prepend"]] if "prepend" in options else []
    return "\n".join([*head, *textwrap.dedent("\n".join(lines)).strip("\n").splitlines()])


def first_with(text: str, lines: list[str]) -> int:
    """Return the index of the first line that contains a text."""
    return next(number for number, line in enumerate(lines) if text in line)


def expect_alternative_texts(app: Sphinx, document: nodes.document) -> None:
    """Warn about images without alternative text."""
    for image in document.findall(nodes.image):
        if not image.get("alt"):
            logger.warning("a figure without alternative text: %s", image.get("uri", ""), location=image)


def expect_no_warnings(app: Sphinx, document: nodes.document) -> None:
    """Warn about cells that print to standard error; remove the note that kernels are being compiled."""
    for output in list(document.findall(nodes.literal_block)):
        if "stderr" in output["classes"]:
            lines = [line for line in output.astext().splitlines() if line and "compiling kernels" not in line]
            if lines:
                logger.warning("a cell that prints to standard error: %s", lines[0], location=output)
            elif output.parent is not None:
                output.parent.remove(output)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive and connect the handlers."""
    app.add_directive("tutorial", TutorialDirective)
    app.connect("config-inited", execution)
    app.connect("builder-inited", mirror)
    app.connect("doctree-read", expect_alternative_texts)
    app.connect("doctree-read", expect_no_warnings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
