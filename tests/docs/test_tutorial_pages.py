"""The extension in docs/_extensions that turns tutorials into pages and notebooks."""

from __future__ import annotations

import importlib.util
import re
import textwrap
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.house.source import ROOT

PAGES = sorted((ROOT / "tutorials").glob("[0-9]*.md"))
INCLUDE = re.compile(r"```\{literalinclude\} (?P<path>\S+)\n(?P<options>(?::.+\n)+)```")


@pytest.fixture(scope="module")
def extension() -> ModuleType:
    """Import the extension; skip the test if the documentation's packages are not installed."""
    for package in ("myst_nb", "nbformat", "sphinx"):
        pytest.importorskip(package, reason="pip install -e '.[docs]'")
    spec = importlib.util.spec_from_file_location("tutorial_pages", ROOT / "docs" / "_extensions" / "tutorial_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_notebooks_are_valid_and_have_no_directives(extension: ModuleType, page: Path) -> None:
    notebook = extension.as_notebook(page.read_text(encoding="utf-8"))
    extension.nbformat.validate(notebook)
    texts = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert "You need" in texts
    assert not re.search(r"^[:`]{3,}\{|^:::", texts, re.MULTILINE), (
        "expected no directive that plain Jupyter would show"
    )
    assert ".md)" not in texts, "expected links to notebooks"
    assert all("{code-cell}" not in cell.source for cell in notebook.cells)


def sphinx_shows(path: Path, options: dict[str, str]) -> str:
    """Return the lines that Sphinx shows for a literalinclude."""
    from sphinx.config import Config
    from sphinx.directives.code import LiteralIncludeReader

    flags: dict[str, Any] = {name: value.strip('"') for name, value in options.items() if name != "language"}
    return LiteralIncludeReader(str(path), flags, Config()).read()[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_notebooks_show_the_code_that_pages_show(extension: ModuleType, page: Path) -> None:
    for include in INCLUDE.finditer(page.read_text(encoding="utf-8")):
        options = {m["name"]: m["value"] for m in extension.OPTION.finditer(include["options"])}
        given = {name: value.strip('"') for name, value in options.items()}
        expected = sphinx_shows((ROOT / "docs" / include["path"].removeprefix("/")).resolve(), options)
        head, expected = (given["prepend"] + "\n", expected) if "prepend" in given else ("", expected)
        expected = head + textwrap.dedent(expected.removeprefix(head)).strip("\n")
        assert extension.included(include["path"], given) == expected


def test_directives_become_plain_markdown(extension: ModuleType) -> None:
    text = textwrap.dedent(
        """\
        See {doc}`the guide <../howto/index>` and {func}`tinygrad_lab.grad`, [next](02_next.md).

        :::{dropdown} Question: why `+=`?
        Because.
        :::

        ```{note}
        Mind $x$.
        ```

        ```python
        untouched = "{doc}`x`"
        ```
        """
    )
    plain = extension.plain_markdown(text)
    assert "See the guide and `tinygrad_lab.grad`, [next](02_next.ipynb)." in plain
    assert "<details>\n<summary>Question: why `+=`?</summary>\n\nBecause.\n\n</details>" in plain
    assert "> **Note**\n>\n> Mind $x$." in plain
    assert 'untouched = "{doc}`x`"' in plain


def test_the_mirror_follows_the_tutorials(
    extension: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New and changed pages are copied, deleted pages are removed, and distributions are left out."""
    monkeypatch.setattr(extension, "ROOT", tmp_path)
    source, app = tmp_path / "tutorials", SimpleNamespace(srcdir=str(tmp_path / "docs"))
    (source / "a_layer").mkdir(parents=True)
    (source / "a_layer" / "pyproject.toml").write_text("")
    (source / "01_first.md").write_text("---\nfile_format: mystnb\nkernelspec:\n  name: python3\n---\n\n# 1. First\n")
    (source / "index.md").write_text("# Tutorials\n")

    def mirrored() -> set[str]:
        extension.mirror(app)
        folder = tmp_path / "docs" / "tutorials"
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}

    assert mirrored() == {"01_first.md", "index.md", "_notebooks/01_first.ipynb"}
    copy = tmp_path / "docs" / "tutorials" / "01_first.md"
    stamp = copy.stat().st_mtime_ns
    mirrored()
    assert copy.stat().st_mtime_ns == stamp
    (source / "01_first.md").unlink()
    assert mirrored() == {"index.md"}


def test_the_cache_of_results_is_kept_until_the_packages_change(
    extension: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extension, "ROOT", tmp_path)
    (tmp_path / "tinygrad_lab").mkdir()
    (tmp_path / "tinygrad_lab" / "engine.py").write_text("one = 1\n")
    app, config = SimpleNamespace(outdir=str(tmp_path / "out" / "html")), SimpleNamespace(suppress_warnings=[])

    def cache(mode: str = "") -> Path:
        monkeypatch.setenv(extension.SWITCH, mode)
        extension.execution(app, config)
        folder = Path(config.nb_execution_cache_path)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    first = cache()
    assert cache() == first
    assert cache("full") != first
    (tmp_path / "tinygrad_lab" / "engine.py").write_text("one = 2\n")
    assert cache() != first
    assert not first.exists()


def test_the_execution_mode_is_checked(extension: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(extension.SWITCH, "fast")
    with pytest.raises(ValueError, match=r"expected one of .* got 'fast'"):
        extension.execution(SimpleNamespace(outdir=str(tmp_path)), SimpleNamespace())
