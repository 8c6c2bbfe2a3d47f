"""The shape of the repository."""

from __future__ import annotations

import ast

from tests.house.source import PACKAGES, tracked_files

FILES = {"CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml"}
FOLDERS = {"docs", "layers", "tests", "tinygrad_lab", "tutorials"}


def test_the_root_holds_only_the_listed_entries() -> None:
    entries = {name.split("/")[0] for name in tracked_files()}
    assert {entry for entry in entries if not entry.startswith(".")} <= FILES | FOLDERS


def test_no_generated_file_is_tracked() -> None:
    endings = (".pyc", ".nbi", ".nbc", ".so", ".pkl", ".pickle")
    assert not [name for name in tracked_files() if name.endswith(endings) or "__pycache__/" in name]


def test_a_small_module_at_the_package_root_states_its_reason() -> None:
    """Other small modules belong to the package that uses them."""
    for path in PACKAGES["tinygrad_lab"].glob("*.py"):
        text = path.read_text(encoding="utf-8")
        reason = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
        assert len(text.splitlines()) >= 90 or path.name == "__main__.py" or "at the root because" in reason, path
