"""The tutorials' third-party distribution, installed from wheels: it is found, checked and trained."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.house.source import ROOT

pytest.importorskip("hatchling")
pytestmark = pytest.mark.slow
PROJECT = ROOT / "tutorials" / "my_first_layer"
FEW_STEPS = ("--set", "training.epochs=1", "--set", "data.per_class=10")


class Environment:
    """A virtual environment with two wheels that uses all other packages of the current one, without a network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder, with_pip=False)
        self.python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        site = self.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
        # This folder is searched last, and its .pth files are not read, so no path leads to the source tree.
        (Path(site) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def run(self, *command: str, at: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run its Python without access to the source tree."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYTEST", "COV"))}
        environment = {**kept, "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg"}
        environment["TINYGRAD_LAB_KERNELS"] = "numpy"  # compilation would take longer than it saves
        done = subprocess.run(
            [str(self.python), *command],
            cwd=at or self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def install(self, wheel: Path) -> None:
        """Install a wheel with the pip of the environment that runs the tests."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.python)]
        options = ["install", "-q", "--no-deps", "--no-index", "--disable-pip-version-check", "--ignore-installed"]
        done = subprocess.run([*pip, *options, str(wheel)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def built(project: Path, folder: Path) -> Path:
    """Build the wheel of a project."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the distribution, so that no files are left in the source tree."""
    return shutil.copytree(PROJECT, tmp_path_factory.mktemp("project") / "my_first_layer")


@pytest.fixture(scope="module")
def environment(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("environment")
    environment = Environment(folder / "venv")
    environment.install(built(ROOT, folder / "ours"))
    environment.install(built(project, folder / "theirs"))
    return environment


def test_packages_are_imported_from_the_wheels(environment: Environment) -> None:
    imported = "import acme_mish, tinygrad_lab, tinygrad_lab_layers"
    shown = "print(acme_mish.__file__, tinygrad_lab.__file__, tinygrad_lab_layers.__file__)"
    places = environment.run("-c", f"{imported}; {shown}").stdout.split()
    assert len(places) == 3
    assert all(Path(place).is_relative_to(environment.folder) for place in places)


def test_the_layer_is_found(environment: Environment) -> None:
    rows = json.loads(environment.run("-m", "tinygrad_lab", "layers", "--json").stdout)
    mine = {
        "name": "acme.mish",
        "class": "acme_mish:Mish",
        "distribution": "acme-mish",
        "version": "0.1.0",
        "status": "ok",
    }
    assert mine in rows
    assert {row["status"] for row in rows} == {"ok"}
    assert "dense" in [row["name"] for row in rows]


def test_the_layer_conforms(environment: Environment) -> None:
    done = environment.run("-m", "tinygrad_lab", "check", "acme.mish", "--json")
    (layer,) = json.loads(done.stdout)["plugins"]
    assert layer["passed"]
    assert {"gradients", "second_order", "fresh_process"} <= {p["name"] for p in layer["properties"]}


def test_the_layer_conforms_under_pytest(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "--conformance=acme.mish"]
    assert "1 passed" in environment.run(*command, at=tmp_path).stdout


def test_its_own_tests_pass(environment: Environment, project: Path) -> None:
    done = environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", at=project)
    assert "4 passed" in done.stdout


def test_a_recipe_finds_it_by_name(environment: Environment, project: Path, tmp_path: Path) -> None:
    command = ["train", str(project / "digits.toml"), *FEW_STEPS, "--runs", str(tmp_path), "--json"]
    result = json.loads(environment.run("-m", "tinygrad_lab", *command).stdout)
    assert result["epochs"] == 1
    assert 0 <= result["test"]["accuracy"] <= 1


def test_it_has_the_files_of_new_layer(tmp_path: Path) -> None:
    """It has one recipe in addition."""
    from tinygrad_lab.cli import main

    assert main(["new-layer", "acme.mish", str(tmp_path / "new")]) == 0
    written = {path.relative_to(tmp_path / "new") for path in (tmp_path / "new").rglob("*") if path.is_file()}
    kept = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=False).stdout.split()
    present = {Path(name) for name in kept} or {p.relative_to(PROJECT) for p in PROJECT.rglob("*") if p.is_file()}
    assert present - written == {Path("digits.toml")}
    assert written <= present
    for same in ("pyproject.toml", ".gitignore", ".github/workflows/ci.yml", "acme_mish/__init__.py"):
        assert (PROJECT / same).read_text() == (tmp_path / "new" / same).read_text()
