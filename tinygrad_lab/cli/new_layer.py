"""Write a complete distribution with a new layer, which installs and passes the conformance kit."""

from __future__ import annotations

import argparse
import builtins
import keyword
import re
from pathlib import Path

from tinygrad_lab.errors import ConfigError
from tinygrad_lab.files.writing import writing

TEMPLATE = Path(__file__).parent / "new_layer_template"
FILES = {
    "pyproject.toml.in": "pyproject.toml",
    "README.md.in": "README.md",
    "gitignore.in": ".gitignore",
    "ci.yml.in": ".github/workflows/ci.yml",
    "docs.md.in": "docs/@LAYER@.md",
    "init.py.in": "@PACKAGE@/__init__.py",
    "layer.py.in": "@PACKAGE@/layer.py",
    "cases.py.in": "@PACKAGE@/cases.py",
    "test.py.in": "tests/test_@LAYER@.py",
}
# Names that the layer's function must not have, because the template or a likely addition to it uses them.
TAKEN = {*keyword.kwlist, *dir(builtins), "beta", "g", "np", "out", "s", "self", "shape", "tgl", "x", "xp"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("name", metavar="PREFIX.NAME", help="the layer's registered name, such as acme.swish")
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="the new folder; ./PREFIX-NAME by default")


def run(arguments: argparse.Namespace) -> int:
    """Write the files, and print what to do next."""
    names = names_for(arguments.name)
    folder = arguments.folder if arguments.folder is not None else Path(names["DISTRIBUTION"])
    written = write_distribution(folder, names)
    print(f"{folder}: {len(written)} files")
    for path in written:
        print(f"  {path}")
    print(f"\nNext:\n  pip install -e '{folder}[test]'\n  tinygrad-lab check {arguments.name}")
    return 0


def names_for(name: str) -> dict[str, str]:
    """Return the names of the distribution, package, class and function of a layer with a registered name.

    Raises
    ------
    ConfigError
        The name has no prefix, contains characters other than lowercase letters, digits and underscores, or leads to
        the name of a package or class that is already taken.

    Examples
    --------
    >>> names_for("acme.my_swish")["CLASS"]
    'MySwish'
    """
    prefix, dot, layer = name.partition(".")
    if not dot or not all(re.fullmatch(r"[a-z][a-z0-9_]*", part) for part in (prefix, layer)):
        raise ConfigError(f"expected a name like acme.swish, in lowercase with a prefix, got {name!r}")
    package, cls = f"{prefix}_{layer}", "".join(part.capitalize() for part in layer.split("_"))
    if package.startswith("tinygrad_lab"):
        raise ConfigError(
            f"expected a name whose package is not one of tinygrad_lab's, got {name!r}; choose another prefix"
        )
    if cls in {*keyword.kwlist, "Any"}:
        raise ConfigError(f"expected a name whose class is not taken in Python, got {name!r}, whose class is {cls}")
    return {
        "NAME": name,
        "LAYER": layer,
        "DISTRIBUTION": f"{prefix}-{layer}".replace("_", "-"),
        "PACKAGE": package,
        "CLASS": cls,
        "FUNCTION": f"{layer}_" if layer in TAKEN else layer,
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
    with writing(ConfigError, f"expected a folder to write into, {folder}"):
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(f"expected a new or empty folder, got {folder}, which is not empty; name another one")
        for source, target in FILES.items():
            path = Path(fill(target, names))
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(fill((TEMPLATE / source).read_text(encoding="utf-8"), names), encoding="utf-8")
            written.append(path)
    return written
