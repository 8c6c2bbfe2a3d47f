"""Sphinx extension for the reference: writes a page for each layer, network, recipe, command and family of names.

The pages go to docs/reference/generated, which git ignores. Each has little more than a directive that renders its
subject, so that a page is rebuilt only when its subject has changed.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import command_pages
import front_page
import layer_table
import recipe_pages
import zoo_pages
from example_layers import EXAMPLES, GROUPS
from names import FAMILIES, REGISTERED, documented_as, members
from sphinx.application import Sphinx

from tinygrad_lab import registry
from tinygrad_lab.cli import commands
from tinygrad_lab.sphinx import layer_pages
from tinygrad_lab.train import recipe_names

OURS = "tinygrad-lab"
SESSIONS = {
    "bench": ("bench lenet5 --rounds 1 --batch 16",),
    "check": ("check dense",),
    "data": ("data list",),
    "draw": ("draw lenet5 -o net.svg",),
    "evaluate": ("@train --set training.epochs=5 --quiet", "evaluate runs/*"),
    "inspect": ("@train --set training.epochs=5 --quiet", "inspect runs/*"),
    "layers": ("layers",),
    "learn": ("learn", "learn start im2col", "learn hint im2col"),
    "new-layer": ("new-layer acme.swish",),
    "new-plugin": ("new-plugin --kind schedule acme.decay",),
    "recipes": ("recipes",),
    "results": ("@train --set training.epochs=2 --quiet", "results"),
    "summary": ("summary lenet5", "summary lenet5 --set image=[28,28,1] --set padding=zero"),
    "sweep": ("sweep lenet5 --set optimizer.lr=0.02,0.08 --set training.epochs=2 --seeds 2",),
    "train": ("train --set training.epochs=3 --seeds 2",),
    "tune": ("tune lenet5 --set optimizer.lr=0.02,0.08 --set training.epochs=2",),
    "weights": ("@train --set training.epochs=1 --quiet", "weights show runs/*/weights.safetensors"),
}

TITLES = {  # of zoo pages whose docstring has a first line that is too long for a title
    "alexnet_small": "A small AlexNet",
    "cuda_convnet": "The four-layer network",
    "gap": "Global average pooling",
    "small": "Small VGG and Inception",
    "ten_layer": "Ten layers",
}
INITIAL = re.compile(r"(^\s*|: )([A-Z])\.(?=\s|$)")


def pages() -> dict[str, str]:
    """Return the text of every generated page by its path."""
    parts = (layers(), models(), recipes(), command_texts(), families(), registered(), properties())
    return {f"{path}.md": text for part in parts for path, text in part}


def contents(names: list[str], *, glob: str = "") -> str:
    """Return a table of contents."""
    return "\n".join(["```{toctree}", ":maxdepth: 1", glob, *names, "```"]).replace("\n\n", "\n\n", 1)


def fence(name: str, argument: str = "", lines: tuple[str, ...] | list[str] = ()) -> str:
    """Return a directive."""
    return "\n".join([f"```{{{name}}} {argument}".rstrip(), *lines, "```"])


def ours(kind: str) -> list[str]:
    """Return the registered names of this distribution."""
    plugins = getattr(registry, kind).plugins()
    return [name for name, found in plugins.items() if found[0].distribution == OURS]


def layers() -> Iterator[tuple[str, str]]:
    """Yield a page for each layer and for each group of layers."""
    groups = {title: list(names) for title, names in GROUPS.items()}
    left = sorted(set(ours("layers")) - {name for names in groups.values() for name in names})
    if left:
        groups["Others"] = left
    slugs = [title.lower().replace(" ", "-") for title in groups]
    text = "Each layer has a page with formula, shapes, errors, drawing, paper, cost and report card."
    yield "layers/index", f"# Layers\n\n{text}\n\n" + contents([f"group-{slug}" for slug in slugs])
    for slug, (title, names) in zip(slugs, groups.items(), strict=True):
        yield (
            f"layers/group-{slug}",
            f"# {title}\n\n" + fence("layer-table", " ".join(names)) + "\n\n" + contents(names),
        )
        for name in names:
            shown = [f":{key}: {value}" for key, value in EXAMPLES.get(name, {}).items()]
            yield f"layers/{name}", f"# {name}\n\n" + fence("layer", name, shown)


def models() -> Iterator[tuple[str, str]]:
    """Yield a page for each file of the zoo."""
    by_file: dict[Path, list[str]] = {}
    for name in ours("models"):
        by_file.setdefault(zoo_pages.source_of(name), []).append(name)
    lead = "Each page has the networks of one paper. The table uses each network's default image and number of classes."
    files = sorted(path.stem for path in by_file)
    yield "models/index", f"# Networks\n\n{lead}\n\n{fence('model-table')}\n\n" + contents(files)
    for path, names in by_file.items():
        makers = {}
        for name in names:
            make = registry.models[name]
            function = make.func if isinstance(make, partial) else make
            makers[f"{function.__module__}.{function.__qualname__}"] = function
        module = inspect.getmodule(function)
        title, _, body = inspect.cleandoc(module.__doc__ or path.stem).partition("\n")
        auto = "\n".join(f".. autofunction:: {target}" for target in makers)
        shown = "\n\n".join(f"## {name}\n\n" + fence("model", name) for name in names)
        yield (
            f"models/{path.stem}",
            f"# {TITLES.get(path.stem) or title.split(':')[0].split(',')[0].rstrip('.')}\n\n{title}\n{body}\n\n"
            + fence("eval-rst", "", [auto])
            + f"\n\n{shown}",
        )


def recipes() -> Iterator[tuple[str, str]]:
    """Yield a page for each recipe."""
    lead = "A recipe is one experiment. `tinygrad-lab train NAME` runs it, and `NAME:VARIANT` is a variant."
    names = recipe_names()
    yield "recipes/index", f"# Recipes\n\n{lead}\n\n{fence('recipe-table')}\n\n" + contents(names)
    for name in names:
        yield f"recipes/{name}", f"# {name}\n\n" + fence("recipe", name)


def command_texts() -> Iterator[tuple[str, str]]:
    """Yield a page for each command."""
    known = commands()
    rows = "\n".join(f"| [{name}]({name}.md) | {text} |" for name, text in known.items())
    lead = "Run them as `tinygrad-lab COMMAND`. The output on these pages was printed when they were built."
    text = f"# Commands\n\n{lead}\n\n| Command | What it does |\n|---|---|\n{rows}\n\n"
    yield "commands/index", text + contents(list(known))
    for name, says in known.items():
        lines = [
            f"@tinygrad-lab {line[1:]}" if line.startswith("@") else f"tinygrad-lab {line}"
            for line in SESSIONS.get(name, ())
        ]
        yield f"commands/{name}", f"# {name}\n\n{says}\n\n" + fence("command", name, lines)


def families() -> Iterator[tuple[str, str]]:
    """Yield a page for each family of public names."""
    lead = (
        "These pages list every public name by purpose. `import tinygrad_lab as tgl` gives the names directly below "
        "`tinygrad_lab`; those of submodules need an import of their own."
    )
    yield "names/index", f"# Names\n\n{lead}\n\n" + contents([family.slug for family in FAMILIES])
    for family in FAMILIES:
        blocks = [documented_as(name) for name in members(family)]
        yield f"names/{family.slug}", f"# {family.title}\n\n{family.lead}\n\n" + fence("eval-rst", "", blocks)


def registered() -> Iterator[tuple[str, str]]:
    """Yield a page for each kind of plugin that recipes refer to by name."""
    for kind, (title, lead) in REGISTERED.items():
        found = getattr(registry, kind)
        rows, blocks = [], []
        for name in ours(kind):
            thing = found[name]
            target = found.plugin(name).target.replace(":", ".")
            says = " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())
            rows += [f"   * - :code:`{name}`", f"     - {says}"]
            blocks.append(f".. auto{'class' if isinstance(thing, type) else 'function'}:: {target}\n")
        head = [".. list-table::", "   :header-rows: 1", "", "   * - Name in recipes", "     - Description", *rows, ""]
        yield f"plugins/{kind}", f"# {title}\n\n{lead}\n\n" + fence("eval-rst", "", head + blocks)


def properties() -> Iterator[tuple[str, str]]:
    """Yield a page with the properties that the conformance kit checks, for each kind of plugin but layers."""
    from tinygrad_lab.conformance.kinds.losses import LOSS
    from tinygrad_lab.conformance.kinds.table import KINDS

    lead = (
        "`tinygrad-lab check NAME` checks these properties of a plugin; {doc}`/howto/read-a-report-card` lists those "
        "of layers. A failure names the property, the smallest case, and the likely mistake."
    )
    tables = {"loss": LOSS, **{kind.name: {**kind.properties, **kind.once} for kind in KINDS}}
    parts = [f"# Properties of plugins\n\n{lead}"]
    for name, table in tables.items():
        rows = [(key, " ".join((inspect.getdoc(check) or "").split("\n\n"))) for key, check in table.items()]
        lines = "\n".join(f"| `{key}` | {' '.join(text.split()).replace('|', chr(92) + '|')} |" for key, text in rows)
        parts.append(f"## {name.capitalize()}\n\n| Property | Meaning |\n| --- | --- |\n{lines}")
    yield "plugins/properties", "\n\n".join(parts)


def write(app: Sphinx) -> None:
    """Write the changed pages, and remove obsolete ones."""
    folder = Path(app.srcdir) / "reference" / "generated"
    wanted = {folder / path: text + "\n" for path, text in pages().items()}
    for path in folder.rglob("*.md"):
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def initials(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Escape an author's initial at the beginning of a line, which reStructuredText would read as a list item."""
    lines[:] = [INITIAL.sub(r"\1\2\\.", line) for line in lines]


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the generator and the directives."""
    for part in (front_page, layer_pages, layer_table, zoo_pages, recipe_pages, command_pages):
        part.setup(app)
    app.connect("builder-inited", write)
    app.connect("autodoc-process-docstring", initials, priority=900)  # after napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
