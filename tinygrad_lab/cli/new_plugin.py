"""Write a complete distribution with a new plugin of any kind, which installs and passes the conformance kit."""

from __future__ import annotations

import argparse
import builtins
import keyword
import re
from dataclasses import dataclass
from pathlib import Path

from tinygrad_lab.errors import ConfigError
from tinygrad_lab.files.writing import writing
from tinygrad_lab.registry import KINDS

TEMPLATE = Path(__file__).parent / "new_plugin_template"
FILES = {  # from a file of the template, in the folder of the kind or beside it, to the new file
    "pyproject.toml.in": "pyproject.toml",
    "README.md.in": "README.md",
    "gitignore.in": ".gitignore",
    "ci.yml.in": ".github/workflows/ci.yml",
    "docs.md.in": "docs/@PLUGIN@.md",
    "init.py.in": "@PACKAGE@/__init__.py",
    "plugin.py.in": "@PACKAGE@/@KIND@.py",
    "cases.py.in": "@PACKAGE@/cases.py",
    "test.py.in": "tests/test_@PLUGIN@.py",
}
# Names that the plugin's function must not have, because the template or a likely addition to it uses them.
TAKEN = {*keyword.kwlist, *dir(builtins), "beta", "g", "np", "out", "s", "self", "shape", "tgl", "x", "xp"}
TAKEN |= {"classes", "error", "image", "labels", "logits", "losses", "math", "prediction", "reduce", "reduction", "rng"}
TAKEN |= {"array", "namespace", "own", "target", "unbox", "width"}


@dataclass(frozen=True)
class Words:
    """The words about a kind of plugin in the files.

    Parameters
    ----------
    word : str
        The kind in a sentence.
    article : str
        ``"a"`` or ``"an"``.
    function : bool
        Whether the plugin is a function and not a class.
    """

    word: str
    article: str = "a"
    function: bool = False


WORDS = {
    "layer": Words("layer"),
    "loss": Words("loss", function=True),
    "optimizer": Words("optimizer", "an"),
    "schedule": Words("learning-rate schedule"),
    "augmentation": Words("augmentation", "an"),
    "data": Words("data set"),
    "metric": Words("metric", function=True),
    "model": Words("network", function=True),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--kind", choices=tuple(KINDS), required=True, help="the kind of plugin")
    add_names(parser)


def add_names(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments for the plugin's name and its folder."""
    parser.add_argument("name", metavar="PREFIX.NAME", help="the plugin's registered name, such as acme.swish")
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="the new folder; ./PREFIX-NAME by default")


def run(arguments: argparse.Namespace) -> int:
    """Write the files, and print what to do next."""
    names = names_for(arguments.name, arguments.kind)
    folder = arguments.folder if arguments.folder is not None else Path(names["DISTRIBUTION"])
    written = write_distribution(folder, names)
    print(f"{folder}: {len(written)} files")
    for path in written:
        print(f"  {path}")
    print(f"\nNext:\n  pip install -e '{folder}[test]'\n  tinygrad-lab check {arguments.name}")
    return 0


def names_for(name: str, kind: str = "layer") -> dict[str, str]:
    """Return the names of the distribution, package, class and function of a plugin with a registered name.

    Raises
    ------
    ConfigError
        The name has no prefix, contains characters other than lowercase letters, digits and underscores, or leads to
        the name of a package or class that is already taken.

    Examples
    --------
    >>> names_for("acme.my_swish")["OBJECT"], names_for("acme.my_loss", "loss")["OBJECT"]
    ('MySwish', 'my_loss')
    """
    prefix, dot, plugin = name.partition(".")
    if not dot or not all(re.fullmatch(r"[a-z][a-z0-9_]*", part) for part in (prefix, plugin)):
        raise ConfigError(f"expected a name like acme.swish, in lowercase with a prefix, got {name!r}")
    package, cls = f"{prefix}_{plugin}", "".join(part.capitalize() for part in plugin.split("_"))
    if package.startswith("tinygrad_lab"):
        raise ConfigError(
            f"expected a name whose package is not one of tinygrad_lab's, got {name!r}; choose another prefix"
        )
    if cls in {*keyword.kwlist, "Any"}:
        raise ConfigError(f"expected a name whose class is not taken in Python, got {name!r}, whose class is {cls}")
    function, words = f"{plugin}_" if plugin in TAKEN else plugin, WORDS[kind]
    return {
        "NAME": name,
        "KIND": kind,
        "GROUP": KINDS[kind].kind,
        "WORD": words.word,
        "A_KIND": f"{words.article} {words.word}",
        "CHECKED": f"{name} --mutants" if kind == "layer" else name,
        "PLUGIN": plugin,
        "DISTRIBUTION": f"{prefix}-{plugin}".replace("_", "-"),
        "PACKAGE": package,
        "CLASS": cls,
        "FUNCTION": function,
        "OBJECT": function if words.function else cls,
    }


def fill(text: str, names: dict[str, str]) -> str:
    """Return a text with its placeholders filled in."""
    for key, value in names.items():
        text = text.replace(f"@{key}@", value)
    return text


def write_distribution(folder: Path, names: dict[str, str]) -> list[Path]:
    """Write all files into a new or empty folder and return their paths within it.

    Raises
    ------
    ConfigError
        The folder is not empty, or cannot be written into.
    """
    written = []
    about = TEMPLATE / names["KIND"] / "about.md.in"
    if about.exists():
        names = {"ABOUT": about.read_text(encoding="utf-8").strip(), **names}
    with writing(ConfigError, f"expected a folder to write into, {folder}"):
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(f"expected a new or empty folder, got {folder}, which is not empty; name another one")
        for name, target in FILES.items():
            sources = [place for place in (TEMPLATE / names["KIND"] / name, TEMPLATE / name) if place.exists()]
            if not sources:
                continue
            path = Path(fill(target, names))
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(fill(sources[0].read_text(encoding="utf-8"), names), encoding="utf-8")
            written.append(path)
    return written
