"""Links between the project's pages have targets, and figures have alternative texts; checked without Sphinx."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house.source import ROOT, identify, tracked_files
from tinygrad_lab import registry
from tinygrad_lab.cli import commands
from tinygrad_lab.train import recipe_names

DOCS = ROOT / "docs"
GENERATED = DOCS / "reference" / "generated"
PAGES = [ROOT / name for name in tracked_files() if name.endswith(".md")]
PAGES = [page for page in PAGES if page.exists() and "_template" not in page.as_posix()]

CODE = re.compile(r"^(?P<fence>`{3,}|:{3,})(?P<kind>[^\n]*)\n.*?^(?P=fence)\s*$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?P<role>\{\w+\})?`[^`\n]+`")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
ROLE = re.compile(r"\{(?P<role>doc|download)\}`(?:[^`<]*<(?P<named>[^`>]+)>|(?P<plain>[^`]+))`")
TREE = re.compile(r"^```\{toctree\}\n(?P<entries>.*?)^```", re.MULTILINE | re.DOTALL)
IMAGE = re.compile(r"!\[(?P<text>[^\]]*)\]\(")
FIGURE = re.compile(r"^(?P<fence>[`:]{3,})\{(?:image|figure)\}[^\n]*\n(?P<options>.*?)^(?P=fence)", re.M | re.S)

each_page = pytest.mark.parametrize("page", PAGES, ids=identify)


def prose(text: str) -> str:
    """Remove blocks of code from a page, but keep the contents of admonitions, cards and other directives."""
    text = CODE.sub(lambda found: found[0] if re.match(r"\{(?!code)", found["kind"]) else "", text)
    return INLINE.sub(lambda found: found[0] if found["role"] else "", text)


def made(path: Path) -> bool:
    """Return whether the build of the documentation generates a page of the reference."""
    networks = [found[0] for found in registry.models.plugins().values()]
    kind, name = path.relative_to(GENERATED).parts[0], path.stem
    known = {
        "layers": set(registry.layers),
        "recipes": set(recipe_names()),
        "commands": set(commands()),
        "plugins": {"augmentations", "datasets", "losses", "metrics", "optimizers", "properties", "schedules"},
        "models": {plugin.target.partition(":")[0].rpartition(".")[2] for plugin in networks},
        "names": set(re.findall(r'Family\(\s*"(\w+)"', (DOCS / "_extensions" / "names.py").read_text("utf-8"))),
    }
    return (name == "index" and kind in known) or name in known.get(kind, ())


def leads_somewhere(page: Path, target: str) -> bool:
    """Return whether the target of a link exists; the target is given as on the page."""
    target = target.partition("#")[0]
    if not target or re.match(r"[a-z]+:", target):
        return True
    mirrored = DOCS / "tutorials" / page.name if page.parent == ROOT / "tutorials" else page
    path = DOCS / target[1:] if target.startswith("/") else (mirrored.parent / target).resolve()
    if not path.is_relative_to(DOCS):
        return path.exists()
    path = (
        ROOT / "tutorials" / path.relative_to(DOCS / "tutorials") if path.is_relative_to(DOCS / "tutorials") else path
    )
    if path.is_relative_to(GENERATED):
        return made(path) or path.suffix == ".svg"
    return path.exists() or path.with_name(path.name + ".md").exists()


@each_page
def test_links_have_targets(page: Path) -> None:
    text = prose(page.read_text(encoding="utf-8"))
    targets = [found["target"] for found in LINK.finditer(text)]
    targets += [found["named"] or found["plain"] for found in ROLE.finditer(text) if found["role"] == "doc"]
    dead = [target for target in targets if not leads_somewhere(page, target)]
    assert not dead


@each_page
def test_entries_of_tables_of_contents_exist(page: Path) -> None:
    dead = []
    for tree in TREE.finditer(page.read_text(encoding="utf-8")):
        entries = [line.strip() for line in tree["entries"].splitlines() if line.strip() and not line.startswith(":")]
        plain = [re.sub(r".*<(.+)>$", r"\1", entry) for entry in entries if not re.search(r"[*?\[]", entry)]
        dead += [entry for entry in plain if not leads_somewhere(page, entry)]
    assert not dead


@each_page
def test_figures_have_alternative_texts(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    short = [found["text"] for found in IMAGE.finditer(CODE.sub("", text)) if len(found["text"]) < 15]
    bare = [found[0] for found in FIGURE.finditer(text) if not re.search(r"^:alt: .{30,}$", found["options"], re.M)]
    assert not short + bare


def test_a_dead_link_is_found() -> None:
    page = DOCS / "index.md"
    assert leads_somewhere(page, "tutorials/index")
    assert leads_somewhere(page, "reference/generated/layers/conv2d")
    assert leads_somewhere(page, "https://example.org")
    assert not leads_somewhere(page, "tutorials/00_nothing.md")
    assert not leads_somewhere(page, "reference/generated/layers/conv9d")
    assert not leads_somewhere(page, "../nothing.md")
