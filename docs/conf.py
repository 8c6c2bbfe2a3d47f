"""Configuration of the documentation: `sphinx-build -W -b html docs docs/_build/html`.

It builds offline. With the environment variable TINYGRAD_LAB_INTERSPHINX set, names of other projects become links.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "tinygrad_lab"
author = "The tinygrad_lab contributors"
project_copyright = f"2026, {author}"
release = version = METADATA["version"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "decisions/template.md", "**/.ipynb_checkpoints"]

# Pages: MyST Markdown. Tutorials are notebooks written as text: a changed one is run, and a failing cell is an error.
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 120
nb_merge_streams = True
copybutton_exclude = ".linenos, .gp, .go"

# Reference: docstrings in NumPy's style, with the two sections that this project adds.
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Shapes", "Units"]
default_role = "code"

html_theme = "furo"
html_title = "tinygrad_lab"
html_theme_options = {"source_directory": "docs/"}

if os.environ.get("TINYGRAD_LAB_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "numpy": ("https://numpy.org/doc/stable", None),
        "python": ("https://docs.python.org/3", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
    }


def distributions(folder: Path) -> set[Path]:
    """Sub-folders that are distributions of their own: code to read, not pages."""
    return {path.parent for path in folder.rglob("pyproject.toml")}


def mirror_tutorials(app: Sphinx) -> None:
    """Copy tutorials/ into docs/tutorials, where the toctree can reach it; unchanged pages keep their time stamps."""
    source, target = ROOT / "tutorials", Path(app.srcdir) / "tutorials"
    skipped = distributions(source)
    pages = {
        path.relative_to(source)
        for path in source.rglob("*")
        if path.is_file() and skipped.isdisjoint(path.parents) and "__pycache__" not in path.parts
    }
    if target.exists():
        for stale in [path for path in target.rglob("*") if path.is_file() and path.relative_to(target) not in pages]:
            stale.unlink()
    for page in pages:
        original, copy = source / page, target / page
        if not copy.exists() or copy.stat().st_mtime_ns != original.stat().st_mtime_ns:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(original, copy)


def setup(app: Sphinx) -> None:
    """Mirror the tutorials before Sphinx looks for pages."""
    app.connect("builder-inited", mirror_tutorials)
