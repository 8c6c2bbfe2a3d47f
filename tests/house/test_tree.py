"""The shape of the repository."""

from __future__ import annotations

from tests.house.source import tracked_files

FILES = {"CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml"}
FOLDERS = {"docs", "layers", "tests", "tinygrad_lab", "tutorials"}


def test_top_level_holds_only_what_the_design_names() -> None:
    entries = {name.split("/")[0] for name in tracked_files()}
    assert {entry for entry in entries if not entry.startswith(".")} <= FILES | FOLDERS


def test_no_generated_file_is_tracked() -> None:
    endings = (".pyc", ".nbi", ".nbc", ".so", ".pkl", ".pickle")
    assert not [name for name in tracked_files() if name.endswith(endings) or "__pycache__/" in name]
