"""Entry points and the contents of the wheel."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tests.house.source import PACKAGES, ROOT
from tinygrad_lab.conformance import LayerCases
from tinygrad_lab.conformance.cases.plugins import PluginCases
from tinygrad_lab.registry import REGISTRIES

METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
GROUPS: dict[str, dict[str, str]] = METADATA.get("entry-points", {})
POINTS = [EntryPoint(name, value, group) for group, points in GROUPS.items() for name, value in points.items()]
POINTS += [EntryPoint(name, value, "console_scripts") for name, value in METADATA["scripts"].items()]


@pytest.mark.parametrize("point", POINTS, ids=lambda point: f"{point.group}:{point.name}")
def test_entry_points_resolve(point: EntryPoint) -> None:
    if point.group == "tinygrad_lab.cases":
        pytest.importorskip("hypothesis")
        assert isinstance(point.load(), (LayerCases, PluginCases))
    else:
        assert point.load() is not None


def test_groups_and_names_are_in_order() -> None:
    assert list(GROUPS) == sorted(GROUPS)
    assert all(list(points) == sorted(points) for points in GROUPS.values())


def test_every_layer_has_cases() -> None:
    """The conformance kit would not check a layer without cases."""
    assert GROUPS["tinygrad_lab.layers"].keys() <= GROUPS["tinygrad_lab.cases"].keys()


def test_cases_belong_to_one_plugin() -> None:
    """Cases have the name of their plugin, so a name with cases belongs to one kind."""
    kinds = [GROUPS[f"tinygrad_lab.{kind}"] for kind in REGISTRIES if kind != "cases"]
    assert not [name for name in GROUPS["tinygrad_lab.cases"] if sum(name in points for points in kinds) != 1]


def test_every_module_of_the_wheel_is_in_the_tree(tmp_path: Path) -> None:
    """The wheel holds all files of both packages and nothing else: no tests, no virtual environment."""
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {
        path.relative_to(folder.parent).as_posix()
        for folder in PACKAGES.values()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in {".css", ".html", ".js", ".py", ".toml", ".typed"}
    }
    assert {name.split("/")[0] for name in packed} == set(PACKAGES)
    assert expected <= packed
    assert not [name for name in packed if re.search(r"(^|/)(tests?|\.?venv|__pycache__)/", name)]
