"""Every example in a docstring or on a page runs.

Docstrings are found in the source rather than on the imported objects: a primitive is an instance, and `doctest`
overlooks the docstrings of instances.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.house.source import ROOT, docstring_node, documented, identify, module_name, package_files, parse

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
OPTIONAL = {"autograd", "cudnn", "cupy", "hypothesis", "numba", "tensorboard", "threadpoolctl", "torch"}
FENCE = re.compile(r"^```(?:python|pycon)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def import_or_skip(name: str) -> ModuleType:
    """Import a module; skip the test if an optional package is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in OPTIONAL:
            pytest.skip(f"{name} needs {error.name}")
        raise


def docstrings(path: Path) -> Iterator[tuple[str, str, int]]:
    """Yield the docstrings of a file that hold examples: (name, text, line)."""
    for name, node in documented(parse(path)):
        text = docstring_node(node)
        if text is not None and isinstance(text.value, ast.Constant) and ">>>" in str(text.value.value):
            yield name, str(text.value.value), text.lineno - 1


def run(examples: doctest.DocTest) -> None:
    """Run examples; fail with doctest's own report."""
    report: list[str] = []
    results = doctest.DocTestRunner(optionflags=FLAGS).run(examples, out=report.append, clear_globs=False)
    assert results.failed == 0, "".join(report)


def usual_names() -> dict[str, Any]:
    """Return the names that an example may use without an import."""
    return {"np": importlib.import_module("numpy"), "tgl": importlib.import_module("tinygrad_lab")}


@pytest.mark.parametrize("path", [path for path in package_files() if ">>>" in path.read_text("utf-8")], ids=identify)
def test_docstrings(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_or_skip(module_name(path))
    monkeypatch.chdir(tmp_path)  # for examples that write files
    for name, text, line in docstrings(path):
        names = {**usual_names(), **vars(module)}
        run(doctest.DocTestParser().get_doctest(text, names, name or module.__name__, str(path), line))


PAGES = sorted({ROOT / "README.md", *(ROOT / "layers").glob("*.md"), *(ROOT / "docs").rglob("*.md")})
MADE = {ROOT / "docs" / "_build", ROOT / "docs" / "reference" / "generated", ROOT / "docs" / "tutorials"}
PAGES = [page for page in PAGES if MADE.isdisjoint(page.parents)]


@pytest.mark.parametrize("page", PAGES, ids=identify)
def test_pages(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python blocks run from top to bottom. Output of sessions (>>>) is compared; plain code must run without error."""
    text = page.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for fence in FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 1
        if ">>>" in fence["code"]:
            run(doctest.DocTestParser().get_doctest(fence["code"], names, page.name, str(page), line))
        else:
            with contextlib.redirect_stdout(None):
                exec(compile("\n" * line + fence["code"], str(page), "exec"), names)
