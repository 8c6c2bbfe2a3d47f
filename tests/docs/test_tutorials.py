"""The tutorials: what each must say, and that it runs."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.house.source import ROOT

PAGES = sorted((ROOT / "tutorials").glob("[0-9]*.md"))
CELL = re.compile(
    r"^```\{code-cell\} python\n(?:---\n(?P<head>.*?)^---\n)?(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
ALTERNATIVE = re.compile(r"^mystnb:\n  image:\n    alt: \S.{30,}$", re.MULTILINE)
INCLUDE = re.compile(r"^[`:]{3,}\{literalinclude\} /\.\./(?P<path>\S+)$", re.MULTILINE)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def test_every_page_has_a_number_of_its_own() -> None:
    numbers = [page.name[:3] for page in PAGES]
    assert all(re.fullmatch(r"\d\d_", number) for number in numbers)
    assert len(set(numbers)) == len(numbers)


@each_page
def test_the_head_says_what_one_needs_gets_and_spends(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith("---\nfile_format: mystnb\nkernelspec:\n  name: python3\n---\n\n# ")
    assert re.search(rf"^# {int(page.name[:2])}\. \S", text, re.MULTILINE), "expected a title with the page's number"
    head = re.search(r"^```\{tutorial\}\n(?P<options>(?::\w+: .+\n)+)\n(?P<gets>.+?)^```$", text, re.M | re.S)
    assert head, "expected the directive {tutorial}, with a sentence that says what one gets"
    assert {"needs", "minutes"} <= set(re.findall(r"^:(\w+): \S", head["options"], re.MULTILINE))


@each_page
def test_figures_have_alternative_texts(page: Path) -> None:
    cells = list(CELL.finditer(page.read_text(encoding="utf-8")))
    assert cells, "expected cells of code"
    drawing = [cell for cell in cells if re.search(r"plt\.show\(|SVG\(|Image\(", cell["code"])]
    bare = [cell["code"] for cell in drawing if not ALTERNATIVE.search(cell["head"] or "")]
    assert not bare, f"expected mystnb: image: alt: of more than 30 letters at the head of\n{bare[0]}"


@each_page
def test_shown_code_is_there(page: Path) -> None:
    missing = [path for path in INCLUDE.findall(page.read_text(encoding="utf-8")) if not (ROOT / path).is_file()]
    assert not missing


@each_page
def test_what_switches_to_the_real_run_says_so(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert ("TINYGRAD_LAB_TUTORIALS" in text) == bool(re.search(r"^:full: \S", text, re.MULTILINE))


@pytest.fixture
def read() -> Any:
    """The reader of notebooks written as text; skipped where the documentation's packages are not installed."""
    for package in ("nbclient", "ipykernel"):
        pytest.importorskip(package, reason="pip install -e '.[docs]'")
    return pytest.importorskip("myst_nb.core.read", reason="pip install -e '.[docs]'").read_myst_markdown_notebook


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the packages that run notebooks; a page's own warnings are its own
@each_page
def test_it_runs(page: Path, read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbclient

    monkeypatch.setenv("TINYGRAD_LAB_NUM_THREADS", "1")
    if find_spec("numba") is None:
        monkeypatch.setenv("TINYGRAD_LAB_KERNELS", "numpy")  # as the documentation does: without a line that says so
    monkeypatch.delenv("MPLBACKEND", raising=False)  # notebooks draw into themselves
    monkeypatch.delenv("TINYGRAD_LAB_TUTORIALS", raising=False)
    text = page.read_text(encoding="utf-8")
    notebook = read(text)
    assert len([cell for cell in notebook.cells if cell.cell_type == "code"]) == text.count("{code-cell}")
    resources = {"metadata": {"path": str(tmp_path)}}  # as if it had been downloaded: nothing lies beside it
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    for cell in notebook.cells:
        drawn = [o for o in cell.get("outputs", ()) if {"image/png", "image/svg+xml"} & o.get("data", {}).keys()]
        assert not drawn or cell.metadata["mystnb"]["image"]["alt"], cell.source
        printed = [o["text"] for o in cell.get("outputs", ()) if o.output_type == "stream" and o["name"] == "stderr"]
        printed = [text for text in printed if "compiling kernels" not in text]  # once for each machine
        assert not printed, f"expected no warnings, got {printed}"
