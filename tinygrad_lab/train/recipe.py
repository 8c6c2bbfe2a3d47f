"""Recipes: experiments as TOML files, which refer to plugins by their registered names.

A recipe has the tables ``recipe`` (title, source, published figure), ``model``, ``data``, ``loss``, ``optimizer``,
``training``, and optionally ``schedule``, the list ``augment``, ``transfer`` (trained weights to begin with, and which
of them stay frozen), and ``origin``: the settings that the source states or that are inferred from it. All other
settings are ours, and so is every setting that ``--set`` replaces. The ``name`` in a table is a registered name; the
other entries are the options of that plugin.

Experiments that differ in a few settings are variants of one recipe: ``[variants.edge]`` holds the settings that
differ, as ``"model.padding" = "edge"``, and ``NAME:edge`` is the name of that variant.
"""

from __future__ import annotations

import copy
import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from tinygrad_lab import registry
from tinygrad_lab.arguments import check_types, fits
from tinygrad_lab.errors import ConfigError, OptionError, warn_once
from tinygrad_lab.files.parsing import from_json, from_toml, read_text, value_of
from tinygrad_lab.registry import one_of
from tinygrad_lab.train.metrics import HEADLINES, check_metric_names

Table = dict[str, Any]

TEST = ("end", "epoch", "never")  # when the test images are evaluated; the first is the default
NO_SETTINGS = ("recipe", "origin", "variants")  # tables that describe a recipe and do not affect a run
BATCH_SIZE = 128  # the default of data.batch_size

_DATA: dict[str, Any] = {
    "name": str,
    "batch_size": int,
    "classes": list,
    "per_class": int,
    "validation": float,
    "seed": int,
    "size": list,
}
_TRAINING: dict[str, Any] = {
    "epochs": int,
    "seed": int,
    "accumulate": int,
    "patience": int,
    "clip_norm": float,
    "clip_value": float,
    "gradient_norms": bool,
    "capture": bool,
    "precision": str,
    "read_every": int,
    "test": str,
    "metrics": list[str],
    "blocks": int,
    "sync_batch_norm": bool,
    "fast_sums": bool,
}
_TRANSFER: dict[str, Any] = {
    "weights": str,
    "convention": str,
    "rules": dict,
    "flattened": dict,
    "fresh": list[str],
    "freeze": list[str],
    "but": list[str],
}
_RECIPE: dict[str, Any] = dict.fromkeys(("title", "source", "published", "remark"), str)
_RECIPE |= {"milestone": float, "diverging": list[str], "comparisons": list[list[str]]}
_RECIPE |= {"published_accuracy": float, "published_points": dict}
_RECIPE |= dict.fromkeys(("plot_against", "plot_lines"), str)
_ORIGIN: dict[str, Any] = dict.fromkeys(("stated", "inferred", "ours"), list[str])
_KINDS: dict[str, Mapping[str, Any]] = {
    "data": _DATA,
    "training": _TRAINING,
    "transfer": _TRANSFER,
    "recipe": _RECIPE,
    "origin": _ORIGIN,
}
_PLUGINS: dict[str, registry.Registry] = {
    "model": registry.models,
    "loss": registry.losses,
    "optimizer": registry.optimizers,
    "schedule": registry.schedules,
    "augment": registry.augmentations,
}
_ALIKE = ("model", "loss", "optimizer")  # tables in which an option means the same for every plugin
_LEAST = {("training", "epochs"): 1, ("training", "seed"): 0, ("data", "batch_size"): 1, ("data", "seed"): 0}
_LEAST |= {("training", "blocks"): 1}
_REQUIRED = ("model", "data", "loss", "optimizer", "training")
_KNOWN = ("recipe", "origin", *_REQUIRED, "augment", "schedule", "transfer", "variants")


@dataclass(frozen=True)
class Recipe:
    """One experiment.

    Parameters
    ----------
    name : str
        The name on the command line.
    tables : dict
        The checked content of its TOML file.
    file : str or None
        The path of that file as it was given, followed by ``:VARIANT`` for a variant; None for the package's recipes.
    """

    name: str
    tables: Table
    file: str | None = None

    @property
    def argument(self) -> str:
        """The command line's argument for the recipe: its name, or the path of its file, with a variant."""
        return self.file or self.name

    def __getitem__(self, table: str) -> Table:
        """Return one table, or an empty one if it is missing."""
        return self.tables.get(table, {})  # type: ignore[no-any-return]  # TOML holds Any

    def origin(self, path: str) -> str:
        """Return where a setting comes from: ``"stated"`` by the source, ``"inferred"`` from it, or ``"ours"``.

        The mark of a table or a variant applies to everything in it that has no mark of its own.

        Parameters
        ----------
        path : str
            ``table.key``; of an augmentation ``augment.NAME.key``, of a variant ``variants.NAME.table.key``.

        Examples
        --------
        >>> recipe = find_recipe("alexnet_small")
        >>> recipe.origin("optimizer.lr"), recipe.override(["optimizer.lr=0.1"]).origin("optimizer.lr")
        ('inferred', 'ours')
        """
        return _mark_of(path, self["origin"])

    @property
    def augment(self) -> list[Table]:
        """The augmentations, in order."""
        return list(self.tables.get("augment", []))

    def options(self, table: str) -> Table:
        """Return the entries of a table except its name."""
        return {key: value for key, value in self[table].items() if key != "name"}

    def override(self, settings: Sequence[str]) -> Recipe:
        """Return the recipe with some settings replaced, each given as ``table.key=value`` in TOML's notation.

        An option of an augmentation is ``augment.NAME.key=value``; ``augment=[...]`` or ``table={...}`` replaces the
        whole table. Values must be of the types that the plugin declares, or else of the type of the old value. If the
        name of the optimizer (loss, network) changes, old options that the new one does not take are dropped with a
        warning. A new schedule or augmentation drops all old options.

        Raises
        ------
        ConfigError
            A setting has another form, names something unknown, or has a value of the wrong type.

        Examples
        --------
        >>> recipe = find_recipe("lenet5").override(["optimizer.lr=0.01", "augment.rotation.degrees=5"])
        >>> recipe["optimizer"]["lr"], recipe.augment[0]
        (0.01, {'name': 'rotation', 'degrees': 5})
        """
        tables: Any = copy.deepcopy(self.tables)
        given = []
        for setting in settings:
            path, equals, text = setting.partition("=")
            path, text = path.strip(), text.strip()
            table, dot, key = path.partition(".")
            if not equals or not (dot or text[:1] in ("[", "{")):
                near = setting_of(path) or "optimizer.lr"
                raise ConfigError(f"--set: expected table.key=value, such as {near}={text or '0.01'}, got {setting!r}")
            one_of(table, [t for t in _KNOWN if t != "variants"], "--set")
            place = tables.setdefault(table, {}) if dot else tables
            if dot and table == "augment":
                place, key = _augmentation(place, key)
            key = key or table
            given.append(_Given(setting, table, place, key, old := place.get(key), _value(text, old)))
            place[key] = given[-1].value
            if key in ("name", table):
                _check_like(given[-1])
        for one in given:
            if one.key == "name" and one.changed and one.table in _PLUGINS:
                _leave_out(one, {other.key for other in given if other.place is one.place})
        for one in given:
            _check_type(one)
        marks = {one.path: "ours" for one in given if one.changed and one.table not in ("recipe", "origin")}
        gone = set(_settings(self.tables)) - set(_settings(tables))
        return replace(self, tables=checked(_marked(tables, marks, gone), self.name))

    @property
    def variants(self) -> list[str]:
        """The names of the variants, in order."""
        return list(self["variants"])

    def variant(self, name: str) -> Recipe:
        """Return the recipe with a variant's settings, called ``recipe:variant``.

        Raises
        ------
        ConfigError
            The recipe has no such variant.

        Examples
        --------
        >>> find_recipe("padding_cnn7").variant("edge")["model"]["padding"]
        'edge'
        """
        if not self.variants:
            raise ConfigError(f"recipe {self.name!r}: expected the variant {name!r}, got a recipe without variants")
        one_of(name, self.variants, f"variants of recipe {self.name!r}")
        settings, tables = self["variants"][name], _varied(self.tables, name, f"recipe {self.name!r}")
        marks = {path: self.origin(f"variants.{name}.{path}") for path in settings}
        full = f"{self.name}:{name}"
        file = self.file and f"{self.file}:{name}"
        return replace(self, name=full, file=file, tables=checked(_marked(tables, marks), full))


def _varied(tables: Table, variant: str, who: str) -> Table:
    """Return the tables with the settings of a variant, without the variants."""
    tables = copy.deepcopy(tables)
    for path, value in tables.pop("variants")[variant].items():
        table, _, key = path.partition(".")
        place = tables.setdefault(table, {}) if key else tables
        if not isinstance(place, dict):
            raise ConfigError(f"{who}: expected {table} as a whole in variant {variant!r}, got {path}")
        place[key or table] = value
    return tables


def setting_of(key: str) -> str | None:
    """Return the path of a setting that is known by its key alone, or None.

    Examples
    --------
    >>> setting_of("epochs"), setting_of("lr"), setting_of("batch-size"), setting_of("nothing")
    ('training.epochs', 'optimizer.lr', 'data.batch_size', None)
    """
    key = key.replace("-", "_")
    usual = dict.fromkeys(("lr", "momentum", "weight_decay"), "optimizer") | {"label_smoothing": "loss"}
    table = usual.get(key) or next((table for table in ("training", "data") if key in _KINDS[table]), None)
    return f"{table}.{key}" if table else None


class _Given(NamedTuple):
    """One setting of `Recipe.override`: its place, the old value and the new one."""

    text: str
    table: str
    place: Table
    key: str
    old: Any
    value: Any

    @property
    def changed(self) -> bool:
        """Whether the new value differs from the old one."""
        return bool(self.value != self.old)

    @property
    def path(self) -> str:
        """Path under which the setting's origin is recorded. A renamed augmentation counts as new."""
        if self.key == self.table:
            return self.table
        steps = ["augment", self.place["name"]] if self.table == "augment" else [self.table]
        return ".".join(steps if self.table == "augment" and self.key == "name" else [*steps, self.key])


def _leave_out(named: _Given, given: set[str]) -> None:
    """Drop old options that a newly named plugin does not take, except those given for it."""
    kind, name = _PLUGINS[named.table], named.place["name"]
    if name not in kind or (known := kind.options_of(name) if named.table in _ALIKE else []) is None:
        return
    old = {key: value for key, value in named.place.items() if key not in given}
    gone = {key: named.place.pop(key) for key in old if key not in known}
    if old:
        kept = {key: value for key, value in old.items() if key in known}
        warn_once(f"--set {named.text}: kept {_listed(kept)}; left out {_listed(gone)}")


def _listed(options: Table) -> str:
    return ", ".join(f"{key}={value}" for key, value in options.items()) or "nothing"


def _augmentation(steps: list[Table], path: str) -> tuple[Table, str]:
    """Return the augmentation of ``NAME.key``, and the key."""
    name, dot, key = path.rpartition(".")
    if not dot:
        raise ConfigError(f"--set: expected augment.NAME.key=value, or augment=[...], got augment.{path}")
    one_of(name, [step["name"] for step in steps], "--set: augmentation")
    return next(step for step in steps if step["name"] == name), key


def _mark_of(path: str, origin: Table) -> str:
    marks = {marked: mark for mark in _ORIGIN for marked in origin.get(mark, [])}
    while path and path not in marks:
        path = path.rpartition(".")[0]
    return marks.get(path, "ours")


def _marked(tables: Table, marks: Mapping[str, str], gone: Set[str] = frozenset()) -> Table:
    """Return the tables with new marks of origin for replaced settings.

    Marks inside of replaced settings, and of settings that are gone, are removed.
    """
    if not isinstance(tables.get("origin"), dict) or not tables["origin"]:
        return tables
    _check_table(tables["origin"], _ORIGIN, "origin")
    replaced = (*marks, "variants") if "variants" not in tables else tuple(marks)
    origin = {
        mark: [p for p in marked if p not in gone and not any(f"{p}.".startswith(f"{new}.") for new in replaced)]
        for mark, marked in tables["origin"].items()
    }
    for path, mark in marks.items():
        if _mark_of(path, origin) != mark:
            origin[mark] = [*origin.get(mark, []), path]
    return {**tables, "origin": origin}


def setting_text(value: Any) -> str:
    """Return a value of a recipe in TOML's notation, in one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(key)} = {setting_text(v)}' for key, v in value.items())}}}"
    return f"[{', '.join(map(setting_text, value))}]" if isinstance(value, list) else json.dumps(value)


def _value(text: str, old: Any) -> Any:
    value = value_of(text, "--set")
    return float(value) if isinstance(old, float) and type(value) is int else value


def _check_type(given: _Given) -> None:
    """Check that a value is of the declared type, or, if none is declared, of the type of the old value."""
    kind, name = _PLUGINS.get(given.table), given.place.get("name")
    if kind is None or not isinstance(name, str) or name not in kind or given.key in ("name", given.table):
        return _check_like(given)
    plugin = kind[name]
    option = inspect.signature(plugin).parameters.get(given.key)
    if option is None or option.annotation is option.empty:
        return _check_like(given)
    try:
        check_types(f"--set {given.text}", plugin, {given.key: given.value})
    except OptionError as error:
        raise ConfigError(str(error)) from None


def _check_like(given: _Given) -> None:
    """Check that a value is of the type of the old value, or of a type that the recipe format allows."""
    old, value, kinds = given.old, given.value, _KINDS.get(given.table, {})
    if given.key == given.table and not isinstance(value, kind := list if given.table == "augment" else dict):
        what = "a list of tables, [{...}]" if kind is list else "a table, {...}"
        raise ConfigError(f"--set {given.text}: expected {what}, got {value}")
    whole = type(old) is int and type(value) is float and given.table == "augment"  # written without a decimal point
    if old is None or type(value) is type(old) or whole or (given.key in kinds and fits(value, kinds[given.key])):
        return
    expected = f"a value of type {type(old).__name__} like {old!r}"
    raise ConfigError(f"--set {given.text}: expected {expected}, got {value}")


def _check_table(table: Mapping[str, Any], kinds: Mapping[str, Any], who: str) -> None:
    for key, value in table.items():
        if key == "root" and kinds is _DATA:
            raise ConfigError(f"{who}: expected no folder in a recipe, got root = {value!r}; name it with --data")
        one_of(key, list(kinds), who)
        if not fits(value, kinds[key]):
            raise ConfigError(f"{who}.{key}: expected {inspect.formatannotation(kinds[key])}, got {value!r:.200}")


def _check_origin(tables: Table, who: str) -> None:
    settings = _settings(tables)
    for marked in tables.get("origin", {}).values():
        for path in marked:
            one_of(path, settings, f"{who}: origin")


def _settings(tables: Table) -> list[str]:
    return [path for table in tables if table != "origin" for path in _paths(table, tables[table])]


def _paths(path: str, content: Any) -> Iterator[str]:
    """Yield the paths that a mark of origin may name: a table or list, and everything inside of it."""
    yield path
    if path == "augment":
        content = {step.get("name"): step for step in content if isinstance(step, dict)}
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _paths(f"{path}.{key}", value)


def check_name(name: Any, who: str) -> None:
    """Check a recipe's name: it may come from an untrusted file, and becomes part of a path.

    Raises
    ------
    ConfigError
        The name has characters other than letters, digits and ``_.:-``.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[\w.:-]+", name):
        raise ConfigError(f"{who}: expected a name of letters, digits and _ . : - alone, got {name!r}")


def checked(tables: Table, name: str) -> Table:
    """Return the tables of a recipe if they are complete and well formed.

    Raises
    ------
    ConfigError
        A table or key is missing, unknown or of the wrong type, or a name is not valid.
    """
    check_name(name, "recipe")
    who = f"recipe {name!r}"
    for table in tables:
        one_of(table, _KNOWN, who)
    if wrong := [t for t in tables if not isinstance(tables[t], list if t == "augment" else dict)]:
        form = "a list of tables, [[augment]]" if wrong[0] == "augment" else f"a table, [{wrong[0]}]"
        raise ConfigError(f"{who}: expected {wrong[0]} to be {form}, got {str(tables[wrong[0]])[:60]}")
    if missing := [t for t in _REQUIRED if t not in tables]:
        raise ConfigError(f"{who}: expected the tables {list(_REQUIRED)}, missing {missing}")
    named = [(table, tables[table]) for table in ("model", "data", "loss", "optimizer", "schedule") if table in tables]
    for table, content in [*named, *(("augment", step) for step in tables.get("augment", []))]:
        if not (isinstance(content, dict) and isinstance(content.get("name"), str)):
            other = registry.instead_of_name(content) if isinstance(content, dict) else ""
            raise ConfigError(f"{who}: expected {table}.name, a registered name{other}")
    for table, kinds in _KINDS.items():
        _check_table(tables.get(table, {}), kinds, f"{who}: {table}")
    _check_origin(tables, who)
    if (reduction := tables["loss"].get("reduction", "mean")) != "mean":
        raise ConfigError(f"{who}: expected loss.reduction 'mean', which training relies on, got {reduction!r}")
    for variant, settings in tables.get("variants", {}).items():
        check_name(variant, f"{who}: variants")
        if not isinstance(settings, dict):
            raise ConfigError(f"{who}: expected variants.{variant} as a table of settings, got {settings!r}")
        for path in settings:
            one_of(path.partition(".")[0], [t for t in _KNOWN if t != "variants"], f"{who}: variants.{variant}")
        _check_options(checked(_varied({**tables, "origin": {}}, variant, who), f"{name}:{variant}"), settings, who)
    _check_amounts(tables, who)
    _check_published(tables.get("recipe", {}), f"{who}: recipe")
    return tables


def _check_options(tables: Table, settings: Iterable[str], who: str) -> None:
    """Check that the plugins of a variant's tables have the options that the variant sets."""
    for table in dict.fromkeys(path.partition(".")[0] for path in settings if path.partition(".")[0] in _PLUGINS):
        kind = _PLUGINS[table]
        for content in tables[table] if table == "augment" else [tables[table]]:
            if content["name"] in kind and (known := kind.options_of(content["name"])) is not None:
                for key in content:
                    one_of(key, ["name", *known], f"{who}: variants: {table}")


def _check_amounts(tables: Table, who: str) -> None:
    one_of(tables["training"].get("test", TEST[0]), TEST, f"{who}: training.test")
    named = [name for name in tables["training"].get("metrics", ()) if name not in HEADLINES]
    try:
        check_metric_names(f"{who}: training.metrics", named)
    except OptionError as error:
        raise ConfigError(str(error)) from None
    for (table, key), least in _LEAST.items():
        if (value := tables[table].get(key, 0 if key == "epochs" else least)) < least:
            raise ConfigError(f"{who}: {table}.{key}: expected {least} or more, got {value}")
    if tables["model"].get("layers") == []:
        raise ConfigError(f"{who}: model.layers: expected at least one layer, got an empty list")
    image = tables["model"].get("image")
    if fits(image, tuple[int, int, int]) and image[0] in (1, 3) and image[1] == image[2] > 4:
        image = [*image[1:], image[0]]
        raise ConfigError(f"{who}: model.image: expected height, width and channels; use {image}")


def _check_published(about: Mapping[str, Any], who: str) -> None:
    """Check what the plots of a recipe's results take from its description."""
    if not 0 <= (accuracy := about.get("published_accuracy", 0)) <= 1:
        raise ConfigError(f"{who}.published_accuracy: expected an accuracy from 0 to 1, got {accuracy}")
    for label, points in about.get("published_points", {}).items():
        if not fits(points, list[list[float]]) or not all(len(p) == 2 and 0 <= p[1] <= 1 for p in points):
            form = "pairs of a setting's value and an accuracy from 0 to 1, such as [[20, 0.9125]]"
            raise ConfigError(f"{who}.published_points: {label!r}: expected {form}, got {points!r:.200}")
    for key in about.keys() & {"plot_against", "plot_lines"}:
        one_of(about[key].partition(".")[0], [t for t in _KNOWN if t not in NO_SETTINGS], f"{who}.{key}")


def recipe_names() -> list[str]:
    """Return the names of the package's recipes."""
    folder = resources.files("tinygrad_lab") / "recipes"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def find_recipe(name: str) -> Recipe:
    """Return a recipe by its name, or by the path of a TOML file or of a run's ``recipe.json``.

    ``NAME:VARIANT`` is a variant of it.

    Raises
    ------
    ConfigError
        The recipe or variant is unknown, or not well formed.
    """
    base, variant = split_name(name)
    recipe = _read_recipe(base)
    return recipe if variant is None else recipe.variant(variant)


def split_name(name: str) -> tuple[str, str | None]:
    """Return a recipe's name or path, and its variant or None. A path may contain colons itself."""
    both = re.fullmatch(r"(.*\.(?:toml|json)|[^:]*)(?::(.*))?", name, re.DOTALL)
    base, variant = both.groups() if both else (name, None)
    return base, variant


def recipe_text(name: str) -> str:
    """Return a recipe's text, by its name or path.

    Raises
    ------
    ConfigError
        The recipe is unknown, or its file cannot be read.
    """
    if not name.endswith((".toml", ".json")):
        _expect_no_path(name)
        one_of(name, recipe_names(), "recipe")
        return (resources.files("tinygrad_lab") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
    return read_text(Path(name), "recipe")


def _expect_no_path(name: str) -> None:
    """Raise for a path that is not that of a recipe's file."""
    path = Path(name)
    try:
        is_run, is_there = (path / "recipe.json").is_file(), path.exists()
        is_near = path.with_name(f"{path.name}.toml").is_file()
    except (OSError, ValueError):  # for example, the name is too long or empty
        is_run = is_there = is_near = False
    if is_run:
        raise ConfigError(
            f"recipe: expected a file, got the folder of a run, {name}; {name}/recipe.json trains it again, and "
            f"--resume {name} continues it"
        )
    if is_near and name not in recipe_names():
        raise ConfigError(f"recipe: expected the name of a recipe or a file, got {name!r}; did you mean {name}.toml?")
    if is_there and name not in recipe_names():
        raise ConfigError(f"recipe: expected a file that ends in .toml, or a run's recipe.json, got {name}")
    if path.name != name:
        raise ConfigError(f"recipe: expected the path of a file that ends in .toml, got {name}, which does not exist")


def _read_recipe(name: str) -> Recipe:
    text, who = recipe_text(name), f"recipe {name!r}"
    if not name.endswith(".json"):
        file = name if name.endswith(".toml") else None
        return Recipe(Path(name).stem, checked(from_toml(text, who), Path(name).stem), file)
    tables = from_json(text, who)
    if not isinstance(tables, dict) or "name" not in tables:
        raise ConfigError(f"{who}: expected the recipe.json of a run, with its name and tables, got other JSON")
    own = tables.pop("name")
    tables.pop("file", None)
    return Recipe(own, checked(tables, own), name)
