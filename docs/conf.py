"""Configuration of the documentation: `sphinx-build -W -b html docs docs/_build/html`.

It builds offline. With the environment variable TINYGRAD_LAB_INTERSPHINX set, names of other projects become links.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs" / "_extensions"))
METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "tinygrad_lab"
author = "The tinygrad_lab contributors"
project_copyright = f"2026, {author}"
release = version = METADATA["version"]

extensions = [
    "mathml",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "reference_pages",
    "tutorial_pages",
]
tinygrad_lab_cards = "reference/report_cards.json"
exclude_patterns = ["_build", "_extensions", "decisions/template.md", "tutorials/_notebooks", "**/.ipynb_checkpoints"]

# Pages are MyST Markdown. Tutorials are notebooks written as text: changed ones run, and a failing cell is an error.
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 600  # seconds, for cells that hang
nb_merge_streams = True
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "TINYGRAD_LAB_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # same figures on every machine; `-j` builds pages in parallel
if (numba := importlib.util.find_spec("numba")) is None or numba.origin is None:
    os.environ.setdefault("TINYGRAD_LAB_KERNELS", "numpy")  # avoids a warning on every page
copybutton_exclude = ".linenos, .gp, .go"

# Docstrings are in NumPy style, with two additional sections.
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Shapes", "Units"]
default_role = "code"

html_math_renderer = "mathml"
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["tinygrad_lab.css"]
html_title = "tinygrad_lab"
html_theme_options = {"source_directory": "docs/"}

if os.environ.get("TINYGRAD_LAB_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "numpy": ("https://numpy.org/doc/stable", None),
        "python": ("https://docs.python.org/3", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
    }
