"""Tests of the numbers and comparisons in the prose of pages: an assertion or a named source backs each."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from tests.house.source import ROOT, identify

PAGES = [
    *sorted((ROOT / "tutorials").glob("*.md")),
    *sorted((ROOT / "docs" / "explanation").glob("*.md")),
    ROOT / "docs" / "index.md",
    ROOT / "README.md",
]
HEADER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
FENCE = re.compile(r"^(`{3,})([^\n`]*)\n(.*?)^\1`*[ ]*$", re.DOTALL | re.MULTILINE)
VERSION = r"(?:[Ss]ections?|Python|NumPy|Numba|PyTorch) \d+\.\d+"
NO_PROSE = re.compile(r"\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|\]\([^)]*\)|<!--.*?-->|" + VERSION, re.DOTALL)
NUMBER = re.compile(r"(?<![\w.,/])(\d[\d,]*(?:\.\d+)?)\s?%|(?<![\w.,])(\d+\.\d+)(?![\w.])")
SOURCE = re.compile(r"<!--\s*([^:>]*\d[^:>]*):\s*\S[^>]*-->")  # <!-- 89.59 %, 91.19 %: Lin et al. 2013, table 1 -->
COMPARISON = re.compile(
    r"\b(?:better|worse|faster|slower|higher|lower|larger|smaller|fewer|cheaper|more often|less often) than\b"
    r"|\btimes as (?:fast|good|large|long|much|many)\b",
    re.IGNORECASE,
)


def numbers(text: str) -> list[tuple[str, set[float]]]:
    """Return the decimal numbers and percentages of a text, each with the values that back it."""
    found = []
    for match in NUMBER.finditer(text):
        value = float((match[1] or match[2]).replace(",", ""))
        found.append((" ".join(match[0].split()), {value, round(value / 100, 9)} if match[1] else {value}))
    return found


def asserted(page: str) -> set[float]:
    """Return the numbers in the assertions of a page's code."""
    values: set[float] = set()
    for _, kind, body in FENCE.findall(page):
        if ">>> " in body:
            code = "\n".join(line[4:] for line in body.splitlines() if line.startswith((">>> ", "... ")))
        elif "python" in kind:
            code = re.sub(r"^:.*\n", "", HEADER.sub("", body), flags=re.MULTILINE)
        else:
            continue
        for statement in ast.walk(ast.parse(code)):
            if isinstance(statement, ast.Assert):
                held = (node.value for node in ast.walk(statement) if isinstance(node, ast.Constant))
                values.update(abs(value) for value in held if isinstance(value, int | float))
    return values


def unbacked(page: str) -> list[str]:
    """Return numbers of a page without an assertion or a source, and comparisons in sections without either."""
    page = HEADER.sub("", page)
    backing = asserted(page)
    for match in SOURCE.finditer(page):
        for _, values in numbers(match[1]):
            backing |= values
    marked = FENCE.sub(lambda block: block[0].replace("\n#", "\n\0#"), page)  # a comment in code is not a heading
    found = []
    for section in re.split(r"^(?=#+ )", marked, flags=re.MULTILINE):
        prose = NO_PROSE.sub("", FENCE.sub("", section.replace("\0", "")))
        found += [number for number, values in numbers(prose) if not values & backing]
        if not re.search(r"\bassert\b|\bresults\(|<!-- \S.*: .* -->", section):
            found += [" ".join(match[0].split()) for match in COMPARISON.finditer(prose)]
    return found


@pytest.mark.parametrize("path", PAGES, ids=identify)
def test_every_number_and_comparison_has_a_backing(path: Path) -> None:
    assert unbacked(path.read_text(encoding="utf-8")) == [], "assert it in a cell, or name the source in a comment"


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("It is 2.5 times as fast.", ["2.5", "times as fast"]),
        ("It reaches 91.3\n% of them.", ["91.3 %"]),
        ("The error is 91.3 %.\n\n```{code-cell} python\nassert error == 0.913\n```", []),
        ("The error is 91.3 %.\n\n```{code-cell} python\nprint(0.913)\n```", ["91.3 %"]),
        ("The error is 91.3 %.\n\n```python\n>>> assert error == 0.913\n```", []),
        ("The paper has 8.75 %.\n<!-- 8.75 %: He et al. 2015, table 6 -->", []),
        ("The paper has 8.75 %.\n<!-- 8.75 %: -->", ["8.75 %"]),
        ("One is better than the other.\n\n# Next\n\n```python\nassert one > other\n```", ["better than"]),
        ("One is better than the other.\n\n```python\n# why\nassert one > other\n```", []),
        ("Version 3.11.2, `0.5`, $0.5$, [a link](b-1.5.md), section 2.1, 12 images, 1,000 steps.", []),
    ],
)
def test_unbacked_numbers_and_comparisons_are_found(page: str, found: list[str]) -> None:
    assert unbacked(page) == found


def test_the_front_page_quotes_committed_results() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    results = ROOT / "docs" / "results"
    for name, quoted in (("resnet20-medium", "91.9 %"), ("ten_layer_modern", "90.5 %")):
        found = json.loads((results / "experiments" / f"{name}.json").read_text(encoding="utf-8"))
        assert f"{100 * found['chosen_on_validation']['mean']:.1f} %" == quoted
        assert quoted in page
        assert len(found["seeds"]) == 1, "the page calls it one run"
    machine = json.loads((results / "performance" / "amd-epyc.json").read_text(encoding="utf-8"))
    rows_of = {network["name"]: (network, network["without_numba"]) for network in machine["networks"]}
    rows = {"alexnet_small": "small AlexNet", "vgg16": "VGG-16", "ten_layer": "ten-layer network"}
    for name, row in (rows | {"resnet20": "ResNet-20", "lenet5": "LeNet-5"}).items():
        ratios = (f"{measured['ratio_to_best_peer']:.1f}" for measured in rows_of[name])
        assert f"| {row} | {' | '.join(ratios)} |" in page
