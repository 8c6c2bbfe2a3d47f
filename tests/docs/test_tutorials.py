"""The form of the tutorials; `sphinx-build` executes them."""

from __future__ import annotations

import re
from pathlib import Path

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
    numbers = [page.name.partition("_")[0] for page in PAGES]
    assert all(re.fullmatch(r"\d\d[a-z]?", number) for number in numbers)
    assert len(set(numbers)) == len(numbers)


def test_the_index_lists_every_page_once() -> None:
    index = (ROOT / "tutorials" / "index.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\d\d[a-z]?_\w+$", index, re.MULTILINE)) == [page.stem for page in PAGES]


@each_page
def test_the_head_states_requirements_result_and_time(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith("---\nfile_format: mystnb\nkernelspec:\n  name: python3\n---\n\n# ")
    number = page.name.partition("_")[0].lstrip("0")
    assert re.search(rf"^# {number}\. \S", text, re.MULTILINE), "expected a title with the page's number"
    head = re.search(r"^```\{tutorial\}\n(?P<options>(?::\w+: .+\n)+)\n(?P<gets>.+?)^```$", text, re.M | re.S)
    assert head, "expected the directive {tutorial}, with a sentence about the result"
    assert {"needs", "minutes"} <= set(re.findall(r"^:(\w+): \S", head["options"], re.MULTILINE))


@each_page
def test_figures_have_alternative_texts(page: Path) -> None:
    cells = list(CELL.finditer(page.read_text(encoding="utf-8")))
    assert cells, "expected cells of code"
    drawing = [cell for cell in cells if re.search(r"plt\.show\(|SVG\(|Image\(", cell["code"])]
    bare = [cell["code"] for cell in drawing if not ALTERNATIVE.search(cell["head"] or "")]
    assert not bare, f"expected mystnb: image: alt: of more than 30 letters at the head of\n{bare[0]}"


@each_page
def test_included_files_exist(page: Path) -> None:
    missing = [path for path in INCLUDE.findall(page.read_text(encoding="utf-8")) if not (ROOT / path).is_file()]
    assert not missing


@each_page
def test_a_tutorial_with_a_full_run_states_it_in_its_head(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert ("TINYGRAD_LAB_TUTORIALS" in text) == bool(re.search(r"^:full: \S", text, re.MULTILINE))
