"""Manifest of a run: classes, preprocessing and versions, so that its network can be used later.

It is the file ``manifest.json`` of a run's folder, written before the first step.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tinygrad_lab as tgl
from tinygrad_lab.arguments import check_state
from tinygrad_lab.data.files import with_home
from tinygrad_lab.errors import ConfigError, PluginError, StateError
from tinygrad_lab.files.parsing import from_json, read_text
from tinygrad_lab.registry import REGISTRIES
from tinygrad_lab.train.checkpoint import provenance
from tinygrad_lab.train.provenance import versions
from tinygrad_lab.train.recipe import Recipe
from tinygrad_lab.train.trainer import Trainer

MANIFEST = "manifest.json"

_PARTS: dict[str, Any] = {
    "classes": list[str],
    "image": list[int],
    "preprocessing": list[dict[str, Any]],
    "root": str | None,
    "versions": dict[str, str],
    "plugins": list[dict[str, str]],
}
_LATER: dict[str, Any] = {"examples": str | None, "targets": list[str]}  # parts that some manifests lack
_PLUGIN: dict[str, Any] = dict.fromkeys(("kind", "name", "distribution", "version"), str)
_KINDS = {
    "model": "models",
    "data": "datasets",
    "loss": "losses",
    "optimizer": "optimizers",
    "schedule": "schedules",
    "augment": "augmentations",
}
"""The kind of plugins that each table of a recipe names."""


@dataclass(frozen=True)
class Manifest:
    """Classes or target numbers, preprocessing, versions and plugins of a run.

    Parameters
    ----------
    classes : sequence of str
        The names of the classes, in the order of the network's outputs.
    image : tuple of int
        Height, width and channels of an image before preprocessing, or the length of a sequence or row.
    preprocessing : list of dict
        The configuration of the pipeline that prepares images for evaluation; see `Compose.config`.
    root : str or None
        The data folder that the user named.
    versions : dict
        Versions of the library, Python and the packages that affect the numbers.
    plugins : list of dict
        Kind, name, distribution and version of every plugin in the recipe and the network.
    examples : str, optional
        What the examples are: ``"images"``, ``"sequences"`` or ``"rows"``; None in the manifests of older runs.
    targets : sequence of str
        The names of the target numbers, in the order of the network's outputs; none for classification.
    """

    classes: list[str]
    image: tuple[int, ...]
    preprocessing: list[dict[str, Any]]
    root: str | None
    versions: dict[str, str]
    plugins: list[dict[str, str]]
    examples: str | None = None
    targets: list[str] = field(default_factory=list)

    @property
    def task(self) -> str:
        """What the network predicts: ``"classification"`` or ``"regression"``; see `Dataset.task`."""
        return "regression" if self.targets else "classification"

    def content(self) -> bytes:
        """Return the content of ``manifest.json``."""
        parts = asdict(self)
        if not self.targets:
            parts.pop("targets")
        return json.dumps(parts, indent=2).encode()

    def check_plugins(self, who: str, *, training: bool) -> None:
        """Check that the plugins of the run are installed: all of them for training, or only those for evaluation.

        Raises
        ------
        PluginError
            A needed plugin is missing; the message names the distribution that provided it.
        """
        steps = [("augmentations", step.get("name")) for step in self.preprocessing]
        for plugin in self.plugins:
            kind, name = plugin["kind"], plugin["name"]
            needed = training or kind in ("layers", "models") or (kind, name) in steps
            if needed and name not in REGISTRIES[kind]:
                distribution, version = plugin["distribution"], plugin["version"]
                raise PluginError(
                    f"{who}: expected {name!r} among the installed {kind}, got none of that name; it came with "
                    f"{distribution} {version}; pip install {distribution}"
                )


def manifest_of(recipe: Recipe, trainer: Trainer, root: str | None) -> Manifest:
    """Return the manifest of a run before its first step."""
    data = trainer.batches.dataset
    return Manifest(
        classes=list(data.classes),
        image=data.shape,
        preprocessing=trainer.batches.augment.for_evaluation().config(),
        root=None if root is None else str(with_home(root).resolve()),
        versions={"tinygrad-lab": tgl.__version__, **versions()},
        plugins=list(_plugins(recipe, trainer)),
        examples=data.noun,
        targets=list(data.targets),
    )


def read_manifest(folder: Path, who: str, *, cure: str) -> Manifest:
    """Return the manifest in a run's folder; `cure` ends the message if it is damaged.

    Raises
    ------
    ConfigError
        The file cannot be read, or is not JSON.
    StateError
        Its content is no manifest.
    """
    try:
        return _read(folder / MANIFEST, who)
    except (ConfigError, StateError) as error:
        raise type(error)(f"{error}; {cure}") from error


def _read(path: Path, who: str) -> Manifest:
    """Return the manifest in a file."""
    found = from_json(read_text(path, who), f"{who}: {path}")
    check_state(f"{who}: {path}", found, _PARTS, _LATER)
    if len(found["image"]) not in (1, 3):
        form = "[height, width, channels] or [length]"
        raise StateError(f"{who}: {path}: expected the entry image to be {form}, got {found['image']!r:.60}")
    nouns = ("images", None) if len(found["image"]) == 3 else ("sequences", "rows", None)
    if found.get("examples") not in nouns:
        what = f"expected the entry examples to be one of {nouns}, got {found['examples']!r:.60}"
        raise StateError(f"{who}: {path}: {what}")
    for plugin in found["plugins"]:
        check_state(f"{who}: {path}: plugins", plugin, _PLUGIN)
        if plugin["kind"] not in REGISTRIES:
            kinds = tuple(REGISTRIES)
            raise StateError(f"{who}: {path}: expected plugins of the kinds {kinds}, got {plugin['kind']!r:.60}")
    return Manifest(**{**found, "image": tuple(found["image"])})


def _plugins(recipe: Recipe, trainer: Trainer) -> Iterator[dict[str, str]]:
    """Yield each plugin that the recipe names or the network consists of."""
    found = {("layers", name) for name in provenance(trainer.model)}
    found |= {(kind, name) for table, kind in _KINDS.items() for name in _names(recipe.tables.get(table))}
    found |= {("metrics", name) for name in trainer.metrics}
    for kind, name in sorted(found):
        if name in (known := REGISTRIES[kind]):  # the table `model` may name a layer, which is found above
            plugin = known.plugin(name)
            yield {"kind": kind, "name": name, "distribution": plugin.distribution, "version": plugin.version}


def _names(content: Any) -> Iterator[str]:
    """Yield the names in a recipe's table, at any depth."""
    if isinstance(content, dict) and isinstance(content.get("name"), str):
        yield content["name"]
    for value in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from _names(value)
