"""The commands `check` and `new-layer`, and `pytest --conformance`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tinygrad_lab.cli import main
from tinygrad_lab.cli.new_plugin import names_for
from tinygrad_lab.errors import ConfigError

BROKEN = """
import tinygrad_lab as tgl

@tgl.primitive
def wrong(xp, x):
    return x * x

wrong.defvjp(x=lambda g, x: g * x)

class Wrong(tgl.Layer):
    def forward(self, x):
        return wrong(x)
    def output_shape(self, shape):
        return shape
"""
BROKEN_METADATA = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "acme-wrong"
version = "1.0"
[project.entry-points."tinygrad_lab.layers"]
"acme.wrong" = "acme_wrong:Wrong"
"acme.missing" = "acme_wrong:Missing"
[tool.hatch.build.targets.wheel]
include = ["acme_wrong.py"]
"""


def run(*command: str, folder: Path, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site or ""), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def install(project: Path, site: Path) -> Path:
    command = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(site), str(project)]
    done = run(*command, folder=project)
    assert done.returncode == 0, done.stderr
    return site


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two installed third-party distributions: one written by new-layer, and a broken one."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("stranger")
    assert main(["new-layer", "acme.swish", str(folder / "swish")]) == 0
    (folder / "wrong").mkdir()
    (folder / "wrong" / "acme_wrong.py").write_text(BROKEN)
    (folder / "wrong" / "pyproject.toml").write_text(BROKEN_METADATA)
    install(folder / "swish", folder / "site")
    return install(folder / "wrong", folder / "site")


def test_json_has_the_documented_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "tanh", "--examples", "3", "--json"]) == 0
    (layer,) = json.loads(capsys.readouterr().out)["plugins"]
    assert set(layer) == {"kind", "name", "passed", "skipped", "seconds", "properties"}
    assert (layer["name"], layer["passed"]) == ("tanh", True)
    for prop in layer["properties"]:
        assert set(prop) == {"name", "passed", "examples", "worst_error", "tolerance"}
    assert {"gradients", "second_order", "fresh_process", "adequacy"} <= {p["name"] for p in layer["properties"]}


def test_check_prints_a_card_and_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "card.html"
    names = ["relu", "tanh", "sigmoid", "softmax"]
    assert main(["check", *names, "--examples", "2", "--html", str(page), "--plot", "tanh"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in names)
    assert "4 of 4 pass" in text
    html = page.read_text(encoding="utf-8")
    assert html.count("<tr>") == 5
    assert "<svg" in html
    assert "Error by step size" in html
    assert not any(outside in html for outside in ("src=", 'href="http', "<script"))


def test_plotting_a_layer_that_is_not_checked_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "relu", "--examples", "2", "--html", str(tmp_path / "x.html"), "--plot", "tanh"]) == 1
    assert "--plot: expected a layer that is checked" in capsys.readouterr().err


def test_an_unknown_layer_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "dens"]) == 1
    assert "did you mean 'dense'" in capsys.readouterr().err


@pytest.mark.slow
def test_check_counts_mutants(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "dense", "--examples", "4", "--mutants"]) == 0
    assert "mutants killed" in capsys.readouterr().out


@pytest.mark.slow
def test_a_new_layer_is_found_and_passes(stranger: Path, tmp_path: Path) -> None:
    done = run("-m", "tinygrad_lab", "check", "acme.swish", "--mutants", folder=tmp_path, site=stranger)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(100%)" in done.stdout


@pytest.mark.slow
def test_the_tests_of_a_new_layer_pass(stranger: Path) -> None:
    project = stranger.parent / "swish"
    done = run("-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", folder=project, site=stranger)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_a_broken_layer_gives_status_1_and_the_others_are_checked(stranger: Path, tmp_path: Path) -> None:
    command = ["check", "acme.wrong", "acme.missing", "acme.swish", "--examples", "3", "--json"]
    done = run("-m", "tinygrad_lab", *command, folder=tmp_path, site=stranger)
    assert done.returncode == 1
    verdicts = {layer["name"]: layer["passed"] for layer in json.loads(done.stdout)["plugins"]}
    assert verdicts == {"acme.wrong": False, "acme.missing": False, "acme.swish": True}


@pytest.mark.slow
def test_pytest_from_an_empty_folder(stranger: Path, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    options = ["-q", "-W", "error", "-p", "no:cacheprovider", "--conformance-examples=3"]
    done = run("-m", "pytest", *options, "--conformance=acme.swish,dense", folder=tmp_path, site=stranger)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    done = run("-m", "pytest", *options, "--conformance=acme.wrong", folder=tmp_path, site=stranger)
    assert done.returncode == 1
    assert "acme.wrong: gradients does not hold" in done.stdout
    assert "=> every entry is 0.5 times what it should be" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.slow
def test_pytest_under_xdist(stranger: Path, tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    options = ["-q", "-n2", "-p", "no:cacheprovider", "--conformance-examples=2", "--conformance", "-k", "relu or tanh"]
    done = run("-m", "pytest", *options, folder=tmp_path, site=stranger)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pytest_refuses_unknown_names(tmp_path: Path) -> None:
    done = run("-m", "pytest", "--conformance=nobody", "-p", "no:cacheprovider", folder=tmp_path)
    assert done.returncode == 4
    assert "expected the name of a plugin, got 'nobody'" in done.stderr


def test_the_pytest_plugin_does_not_import_the_kit() -> None:
    heavy = ["hypothesis", "numba", "rich", "scipy", "tinygrad_lab.conformance.checks"]
    code = f"import sys, tinygrad_lab.conformance.pytest_plugin; print([n for n in {heavy} if n in sys.modules])"
    done = run("-c", code, folder=Path.cwd())
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("name", ["swish", "Acme.swish", "acme.", "acme.swish.two", "acme.my-swish"])
def test_names_without_a_prefix_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"like acme\.swish"):
        names_for(name)


@pytest.mark.parametrize("name", ["acme.none", "acme.true", "acme.any", "tinygrad.lab"])
def test_new_layer_refuses_names_that_are_not_usable(name: str) -> None:
    with pytest.raises(ConfigError, match="expected a name"):
        names_for(name)


def test_a_layer_may_have_a_name_that_the_template_uses(tmp_path: Path) -> None:
    names = ["x", "tgl", "self", "np", "float", "lambda"]
    code = "import sys; from tinygrad_lab.conformance import check_layer\n"
    for name in names:
        assert main(["new-layer", f"acme.{name}", str(tmp_path / name)]) == 0
        code += f"sys.path.append({str(tmp_path / name)!r})\n"
        code += f"from acme_{name} import {name.capitalize()} as cls; from acme_{name}.cases import cases\n"
        code += "check_layer(cls, cases, examples=2)\n"
    done = run("-c", code, folder=tmp_path, site=tmp_path)
    assert done.returncode == 0, done.stderr


def test_new_layer_does_not_write_into_a_used_folder(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "mine").write_text("")
    assert main(["new-layer", "acme.swish", str(tmp_path)]) == 1
    assert "expected a new or empty folder" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine"]


@pytest.mark.parametrize("count", ["0", "-3"])
def test_zero_examples_are_refused(count: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "relu", f"--examples={count}"]) == 1
    assert f"examples: expected at least 1, got {count}" in capsys.readouterr().err
    done = run("-m", "pytest", "--conformance=relu", f"--conformance-examples={count}", folder=tmp_path)
    assert done.returncode == 4
    assert "expected at least 1" in done.stderr


def test_an_unknown_device_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "relu", "--device", "nonsense"]) == 1
    assert "nonsense" in capsys.readouterr().err


def test_a_failure_is_reported_once(stranger: Path, tmp_path: Path) -> None:
    done = run("-m", "tinygrad_lab", "check", "acme.wrong", folder=tmp_path, site=stranger)
    assert done.stdout.count("Run it again:") == 1
    assert "acme.wrong: batch_of_one does not hold either: " in done.stdout


def test_errors_name_their_command_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-layer", "swish"]) == 1
    assert capsys.readouterr().err.startswith("tinygrad-lab new-layer: expected a name like acme.swish")


def test_the_table_of_layers_shows_full_names(stranger: Path, tmp_path: Path) -> None:
    done = run("-m", "tinygrad_lab", "layers", folder=tmp_path, site=stranger)
    assert re.search(r"tinygrad_lab_layers\.local_response_norm:LocalResponseNorm +tinygrad-lab ", done.stdout)
    assert "acme_swish:Swish" in done.stdout
