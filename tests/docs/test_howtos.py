"""Guides run as typed: their files are written into a fresh folder, and their commands are run there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.house.source import ROOT, identify
from tests.installed import importable, install
from tinygrad_lab.cli import main
from tinygrad_lab.inspect.trace import outline_recipe
from tinygrad_lab.train import find_recipe

STEP = re.compile(
    r"^(?P<fence>`{3,})(?:\{code-block\} \w+\n:caption: (?P<path>\S+)\n\n|(?P<shell>sh)\n)(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
GUIDES = sorted((ROOT / "docs" / "howto").glob("*.md"))
WITH_FILES = [page for page in GUIDES if any(step["path"] for step in STEP.finditer(page.read_text(encoding="utf-8")))]
RUN = [
    ROOT / "docs" / "howto" / f"{n}.md"
    for n in ("train-on-numbers", "train-on-photographs", "write_a_layer", "write-a-layer-with-state")
]
PLUGINS = [  # each leads to a plugin that passes the kit
    ROOT / "docs" / "howto" / f"write_{name}.md"
    for name in ("a_data_set", "a_loss", "a_metric", "a_model", "a_schedule", "an_augmentation", "an_optimizer")
]
LEFT_OUT = re.compile(r"CIFAR|--mutants|alexnet_small|activations|ten_layer|^pip install sphinx|^sphinx-build")

# `pip install -e` of a distribution without dependencies, offline: its entry points, and a link to its package.
INSTALL = """
import os, pathlib, sys, tomllib
project = pathlib.Path(sys.argv[1].partition("[")[0])
table = tomllib.loads((project / "pyproject.toml").read_text())["project"]
info = pathlib.Path("site", table["name"].replace("-", "_") + "-" + table["version"] + ".dist-info")
info.mkdir(parents=True, exist_ok=True)
(info / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: {table['name']}\\nVersion: {table['version']}\\n")
groups = [f"[{group}]\\n" + "".join(f"{k} = {v}\\n" for k, v in points.items())
          for group, points in table["entry-points"].items()]
(info / "entry_points.txt").write_text("\\n".join(groups))
for package in project.glob("*/__init__.py"):
    link = pathlib.Path("site", package.parent.name)
    link.exists() or link.symlink_to(package.parent.resolve())
"""


def write(step: re.Match[str], folder: Path) -> Path:
    path = folder / step["path"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(step["text"], encoding="utf-8")
    return path


@pytest.mark.parametrize("page", WITH_FILES, ids=identify)
def test_files_are_whole(page: Path, tmp_path: Path) -> None:
    """Python compiles, TOML can be read, and a recipe is complete and its network fits its images."""
    for step in STEP.finditer(page.read_text(encoding="utf-8")):
        if step["path"] is None:
            continue
        path = write(step, tmp_path)
        if path.suffix == ".py":
            compile(step["text"], str(path), "exec")
        if path.suffix == ".toml" and "training" in tomllib.loads(step["text"]):
            recipe = find_recipe(str(path))
            for one in (recipe, *map(recipe.variant, recipe.variants)):
                model, image = outline_recipe(one)
                assert len(model.output_shape((1, *image))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=identify)
def test_commands_run_as_typed(page: Path, tmp_path: Path) -> None:
    for package in ("hypothesis", "matplotlib", "PIL", "sklearn"):
        pytest.importorskip(package)
    (tmp_path / "install.py").write_text(INSTALL)
    (tmp_path / "site").mkdir()
    run = "tinygrad-lab() { " + f"'{sys.executable}' -m tinygrad_lab" + ' "$@"; }\n'
    run += "python() { " + f"'{sys.executable}'" + ' "$@"; }\npip() { python install.py "${@: -1}"; }\n'
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYTEST", "COV"))}
    given = {**kept, "PYTHONPATH": str(tmp_path / "site"), "TINYGRAD_LAB_KERNELS": "numpy", "MPLBACKEND": "Agg"}
    for step in STEP.finditer(page.read_text(encoding="utf-8")):
        if step["path"]:
            write(step, tmp_path)
            continue
        lines = [line for line in step["text"].splitlines() if not LEFT_OUT.search(line)]
        done = subprocess.run(
            ["bash", "-e", "-c", run + "\n".join(lines)],
            cwd=tmp_path,
            env=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{step['text']}\n{done.stdout}\n{done.stderr}"
        assert "diverged" not in done.stdout
    if page.stem == "train-on-photographs":
        assert (tmp_path / "mistakes.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("page", PLUGINS, ids=identify)
def test_guides_lead_to_plugins_that_pass(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands run in this process, which is quicker than a process for each."""
    monkeypatch.chdir(tmp_path)
    commands = []
    with importable(tmp_path / "site"):
        for step in STEP.finditer(page.read_text(encoding="utf-8")):
            if step["path"]:
                write(step, tmp_path)
                continue
            for line in step["text"].splitlines():
                words = shlex.split(line)
                commands.append(words[:2])
                if words[0] == "pip":
                    install(tmp_path / words[-1].removesuffix("[test]"), tmp_path / "site")
                else:
                    assert words[0] == "tinygrad-lab"
                    assert main(words[1:]) == 0
    assert commands[:3] == [["tinygrad-lab", "new-plugin"], ["pip", "install"], ["tinygrad-lab", "check"]]
