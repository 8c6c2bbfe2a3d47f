"""Each row of docs/explanation/what-we-promise.md names an existing test and its number of cases."""

from __future__ import annotations

import ast
import re

import pytest

from tests.house.source import ROOT

PAGE = (ROOT / "docs" / "explanation" / "what-we-promise.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\|(?P<cells>.*)\| `(?P<file>tests/[\w/]+\.py)(?:::(?P<name>\w+))?` \|$", re.MULTILINE)
ROWS = [(row["cells"], row["file"], row["name"]) for row in ROW.finditer(PAGE)]


@pytest.mark.parametrize(("cells", "file", "name"), ROWS, ids=[f"{file}::{name}" for _, file, name in ROWS])
def test_promises_have_tests(cells: str, file: str, name: str | None) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert name is None or name in functions
    if name and (said := re.search(r"\| ([\d,]+) $", cells)):
        calls = re.findall(r"\bcases\((\d+)\)", ast.unparse(functions[name]))
        assert calls == [said[1].replace(",", "")], "the page states another number of cases than the test"


def test_every_row_is_read() -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith("|")]
    tables = sum(line.startswith("| ---") for line in lines)
    assert len(ROWS) == len(lines) - 2 * tables > 30
