"""The reference documents every public name, every layer with formula, shapes and paper, and every report card."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tinygrad_lab as tgl
from tests.house.source import ROOT
from tinygrad_lab import registry
from tinygrad_lab.cli import commands
from tinygrad_lab.errors import LabError
from tinygrad_lab.train import find_recipe, recipe_names

EXTENSIONS = ROOT / "docs" / "_extensions"
CARDS = ROOT / "docs" / "reference" / "report_cards.json"
GLOSSARY = ROOT / "docs" / "reference" / "glossary.md"
OURS = [name for name, found in registry.layers.plugins().items() if found[0].distribution == "tinygrad-lab"]


def extension(name: str) -> ModuleType:
    """Import a module of docs/_extensions that does not need Sphinx."""
    spec = importlib.util.spec_from_file_location(f"docs_extension_{name}", EXTENSIONS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def names() -> ModuleType:
    pytest.importorskip("hypothesis")
    return extension("names")


def public_members(thing: type) -> dict[str, Any]:
    """Return the public methods and properties that a class itself defines."""
    return {
        name: member
        for name, member in vars(thing).items()
        if not name.startswith("_")
        and (inspect.isfunction(member) or isinstance(member, property | classmethod | staticmethod))
    }


def test_every_public_name_is_listed_once(names: ModuleType) -> None:
    placed = [name for family in names.FAMILIES for name in names.members(family)]
    assert len(placed) == len(set(placed))
    top = {name.removeprefix("tinygrad_lab.") for name in placed}
    plain = {name for name in tgl.__all__ if name != "__version__" and not inspect.ismodule(getattr(tgl, name))}
    assert plain <= top


def test_every_public_name_is_documented(names: ModuleType) -> None:
    bare = []
    for name in (name for family in names.FAMILIES for name in names.members(family)):
        thing = names.resolved(name)
        bare += [] if (thing.__doc__ or "").strip() else [name]
        for member, value in public_members(thing).items() if isinstance(thing, type) else ():
            documented = inspect.getdoc(getattr(thing, member)) or getattr(value, "__doc__", None)
            bare += [] if (documented or "").strip() else [f"{name}.{member}"]
    assert not bare


@pytest.mark.parametrize(
    "kind", ["augmentations", "datasets", "losses", "metrics", "models", "optimizers", "schedules"]
)
def test_every_plugin_is_documented(kind: str) -> None:
    found = getattr(registry, kind)
    assert not [name for name in found if not (inspect.getdoc(getattr(found[name], "func", found[name])) or "").strip()]


@pytest.mark.parametrize(
    ("kind", "page"), [("augmentations", "augmentation-pictures"), ("schedules", "schedule-plots")]
)
def test_every_augmentation_has_a_picture_and_every_schedule_a_plot(kind: str, page: str) -> None:
    text = (ROOT / "docs" / "reference" / f"{page}.md").read_text(encoding="utf-8")
    found = getattr(registry, kind)
    ours = {found[name].__name__ for name in found if found.plugin(name).distribution == "tinygrad-lab"}
    sections = [section for section in text.split("\n## ")[1:] if "    alt: " in section]
    assert ours <= {shown for section in sections for shown in re.findall(r"\b(?:augment|schedules)\.(\w+)\(", section)}


@pytest.mark.parametrize("name", OURS)
def test_every_layer_documents_its_formula_shapes_and_references(name: str) -> None:
    text = inspect.getdoc(registry.layers[name]) or ""
    assert ":math:" in text or ".. math::" in text, f"{name}: expected a formula"
    for section in ("Shapes", "References", "Examples"):
        assert re.search(rf"^{section}\n-+\n\S", text, re.MULTILINE), f"{name}: expected a section {section}"
    options = set(inspect.signature(registry.layers[name].__init__).parameters) - {"self", "args", "options"}
    if options:
        assert re.search(r"^Parameters\n-+\n\S", text, re.MULTILINE), f"{name}: expected a section Parameters"
        assert not [option for option in options if not re.search(rf"\b{option}\b", text)]


@pytest.mark.parametrize("name", OURS)
def test_every_layer_has_a_complete_report_card(name: str) -> None:
    """The committed cards are written by `python docs/_extensions/report_cards.py`."""
    pytest.importorskip("hypothesis")
    from tinygrad_lab.conformance.properties import LAYER, ONCE

    rows = json.loads(CARDS.read_text(encoding="utf-8"))["layers"].get(name)
    assert rows, f"{name} has no card: run python docs/_extensions/report_cards.py"
    laws = {getattr(law, "name", law) for law in registry.cases[name].laws}
    assert {row[0] for row in rows} <= {*LAYER, *ONCE, *laws}, "the kit has other properties now; write the cards again"
    assert laws <= {row[0] for row in rows}
    assert all(row[1] for row in rows)


def test_every_layer_has_an_example_group() -> None:
    examples = extension("example_layers")
    grouped = [name for names in examples.GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(OURS)
    assert examples.EXAMPLES.keys() <= set(OURS)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_has_a_title_and_a_source(name: str) -> None:
    about = find_recipe(name)["recipe"]
    assert about.get("title")
    assert about.get("source")


def test_every_command_has_a_description() -> None:
    assert all(text.endswith(".") for text in commands().values())


def test_the_glossary_is_in_two_languages() -> None:
    text = GLOSSARY.read_text(encoding="utf-8")
    entries = re.findall(r"^(\w[^\n]*)\n([^\s`:#][^\n]*)\n  \S", text, re.MULTILINE)
    assert len(entries) >= 40
    assert not [english for english, japanese in entries if not re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", japanese)]
    assert {"誤差逆伝播法", "畳み込み", "側抑制"} <= {japanese for _, japanese in entries}


def test_errors_of_misuse_in_the_reference_are_errors_of_the_project() -> None:
    """The errors that the reference shows for misuse of a layer are clear errors of this project."""
    pytest.importorskip("hypothesis")
    for name in OURS:
        assert all(issubclass(bad.error, LabError) for bad in registry.cases[name].bad_inputs)


MODULE = '''
import tinygrad_lab as tgl
from hypothesis import strategies as st
from tinygrad_lab.conformance import BadInput, Case, Input, LayerCases


class Halve(tgl.Layer):
    """Half of it: :math:`y = x / d`."""

    def __init__(self, *, divisor=2.0):
        if divisor == 0:
            raise tgl.errors.OptionError("Halve: expected a divisor that is not 0, got 0")
        self.divisor = divisor

    def forward(self, x):
        return x / self.divisor

    def output_shape(self, shape):
        return shape


cases = LayerCases(
    st.builds(lambda n: Case(inputs=(Input((2, n)),)), st.integers(1, 3)),
    bad_inputs=(BadInput(options={"divisor": 0}, error=tgl.errors.OptionError, match="not 0"),),
)
'''
POINTS = """
[tinygrad_lab.layers]
acme.halve = acme_halve:Halve

[tinygrad_lab.cases]
acme.halve = acme_halve:cases
"""


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Register a layer of another distribution and return its name."""
    info = tmp_path / "site" / "acme_halve-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-halve\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    (tmp_path / "site" / "acme_halve.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    registry.layers.refresh()
    registry.cases.refresh()
    yield "acme.halve"
    monkeypatch.undo()
    registry.layers.refresh()
    registry.cases.refresh()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Sphinx and what it uses
def test_a_third_party_layer_gets_a_page(stranger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directive renders every registered layer, of any distribution, on pages of both formats."""
    build = pytest.importorskip("sphinx.cmd.build", reason="pip install -e '.[docs]'")
    for package in ("hypothesis", "myst_parser"):
        pytest.importorskip(package, reason="pip install -e '.[docs]'")
    source, target = tmp_path / "source", tmp_path / "html"
    source.mkdir()
    (source / "conf.py").write_text(
        "extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'tinygrad_lab.sphinx']\n"
        "napoleon_custom_sections = ['Shapes', 'Units']\ndefault_role = 'code'\n"
    )
    (source / "index.rst").write_text(f"Halve\n=====\n\n.. layer:: {stranger}\n\n.. toctree::\n\n   dense\n")
    (source / "dense.md").write_text("# Dense\n\n```{layer} dense\n:example: dense(4, 3)\n:input: 4\n```\n")
    assert build.main(["-q", "-W", "-b", "html", str(source), str(target)]) == 0
    halve, dense = ((target / f"{name}.html").read_text(encoding="utf-8") for name in ("index", "dense"))
    for page in (halve, dense):
        assert all(f"<h2>{title}" in page for title in ("Drawing", "Cost", "Errors", "Report card"))
        assert 'role="img"' in page
    assert "acme-halve 1.0" in halve
    assert "expected a divisor that is not 0" in halve
    assert "<p>15</p>" in dense, "four times three weights and three biases"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("default")  # of Sphinx and what it uses
def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    """Sphinx warns about dead links and missing names. The tutorials have tests of their own."""
    for package in ("sphinx", "furo", "myst_nb", "sphinx_design", "sphinx_copybutton"):
        pytest.importorskip(package, reason="pip install -e '.[docs]'")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", "-d", str(tmp_path / "trees")]
    told = os.environ | {"TINYGRAD_LAB_TUTORIALS": "off"}
    done = subprocess.run(
        [*command, str(ROOT / "docs"), str(tmp_path / "html")], env=told, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow  # imports Sphinx
def test_every_table_of_experiments_gets_plots() -> None:
    pytest.importorskip("sphinx", reason="pip install -e '.[docs]'")
    module = extension("recipe_pages")
    page = [(ROOT / "docs" / f"{module.PAGE}.md").read_text(encoding="utf-8")]
    sections = page[0].count("\n| recipe | best ")
    module.place_plots(None, module.PAGE, page)
    placed = re.findall(r"^```\{recipe-plots\} (\w+)\n```$", page[0], re.MULTILINE)
    assert len(set(placed)) == len(placed) == sections > 0
    assert set(placed) <= set(recipe_names())
