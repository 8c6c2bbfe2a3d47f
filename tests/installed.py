"""Distributions of plugins that are installed for a test, without a network and in this process."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tinygrad_lab.conformance.meta.fresh_process import FRESH
from tinygrad_lab.registry import REGISTRIES


def install(project: Path, site: Path) -> None:
    """Write a project's entry points into a folder, link its package there, and let the registries find it."""
    table = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = site / f"{table['name'].replace('-', '_')}-{table['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {table['name']}\nVersion: {table['version']}\n")
    groups = table["entry-points"].items()
    points = [f"[{group}]\n{name} = {target}" for group, named in groups for name, target in named.items()]
    (info / "entry_points.txt").write_text("\n".join(points))
    (package,) = (path.parent for path in project.glob("*/__init__.py"))
    (site / package.name).symlink_to(package.resolve())
    for one in REGISTRIES.values():
        one.refresh()


@contextmanager
def importable(site: Path) -> Iterator[None]:
    """Make the packages in a folder importable, in the kit's second process too, inside the ``with`` block."""
    before = set(sys.modules)
    FRESH.stop()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("PYTHONPATH", str(site))
        yield
        FRESH.stop()
    for name in set(sys.modules) - before:
        if name.startswith("acme_"):
            del sys.modules[name]
    for one in REGISTRIES.values():
        one.refresh()
