"""`new-plugin` writes a distribution of each kind, which passes the kit and its own tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("hypothesis")
from tests.installed import importable, install
from tinygrad_lab.cli import main
from tinygrad_lab.cli.new_plugin import TEMPLATE, WORDS
from tinygrad_lab.conformance.kinds.table import inspect_plugin
from tinygrad_lab.registry import KINDS


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with an installed project of each kind, named acme.new_KIND."""
    folder = tmp_path_factory.mktemp("projects")
    with importable(folder / "site"):
        for kind in KINDS:
            assert main(["new-plugin", "--kind", kind, f"acme.new_{kind}", str(folder / kind)]) == 0
            install(folder / kind, folder / "site")
        yield folder


def test_every_kind_has_a_template() -> None:
    assert WORDS.keys() == KINDS.keys()
    assert {path.name for path in TEMPLATE.iterdir() if path.is_dir()} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_conforms(kind: str, projects: Path) -> None:
    result = inspect_plugin(kind, f"acme.new_{kind}", examples=3)
    assert result.reports() == []
    assert result.examples
    texts = [path.read_text(encoding="utf-8") for path in (projects / kind).rglob("*") if path.suffix in (".py", ".md")]
    assert not [text for text in texts if re.search("@[A-Z_]+@", text)]


@pytest.mark.slow
def test_the_tests_of_new_plugins_pass(projects: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(projects / "site"), "PYTHONDONTWRITEBYTECODE": "1"}
    folders = [str(projects / kind) for kind in KINDS]
    options = ["-q", "-W", "error", "-p", "no:cacheprovider", "--doctest-modules"]
    command = [sys.executable, "-m", "pytest", *options, *folders]
    done = subprocess.run(command, cwd=projects, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["own", "acme.Own", "acme.none"])
def test_names_that_cannot_be_used_are_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-plugin", "--kind", "schedule", name, str(tmp_path / "new")]) == 1
    assert "expected a name" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
