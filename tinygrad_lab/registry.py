"""Registry of plugins of every kind, found by entry points.

The built-in layers register through the same entry points that a third-party distribution uses:

    [project.entry-points."tinygrad_lab.layers"]
    "acme.swish" = "acme_swish:Swish"

Discovery reads metadata only. A plugin is imported when it is first used. A plugin that is broken, made for another API
or registered twice raises an error at that time, which names its distribution; the other plugins keep working.

`Registry.make` builds the plugin of a recipe's table: ``optimizers.make({"name": "sgd", "lr": 0.1}, parameters)``.
"""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tinygrad_lab.arguments import check_types
from tinygrad_lab.errors import ConfigError, PluginError, hint
from tinygrad_lab.nn.layer import Layer

API = 1  # the plugin interface of this release; it and the one before are accepted
_EXIT = os._exit
NAMED = {"models": "network"}  # the usual word for a plugin of a kind


def one_of(name: str, known: Sequence[str], who: str) -> None:
    """Check that a name is known; the error suggests the nearest known name.

    Raises
    ------
    ConfigError
        The name is unknown.
    """
    if name not in known:
        raise ConfigError(f"{who}: expected a known name, got {name!r}; {hint(name, known)}")


@contextmanager
def _outliving() -> Iterator[None]:
    """Make ``os._exit`` raise SystemExit inside the ``with`` block, instead of ending the program without a message."""

    def refuse(status: int) -> NoReturn:
        raise SystemExit(f"os._exit({status})")

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = _EXIT  # the original, even if another thread is inside too


@dataclass(frozen=True)
class Plugin:
    """One plugin's metadata.

    Parameters
    ----------
    name, target : str
        The registered name and ``module:attribute``.
    distribution, version : str
        The distribution that ships the plugin.
    entry : importlib.metadata.EntryPoint
        The entry point, which imports the plugin.
    """

    name: str
    target: str
    distribution: str
    version: str
    entry: Any

    def __str__(self) -> str:
        return f"{self.target} of {self.distribution} {self.version}"


def _place(error: BaseException) -> str:
    """Return the line of a plugin that raised an error on import; nothing if the error is about the entry point."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames[1:] else ""


def _cure(error: BaseException) -> str:
    return "reinstall or uninstall" if isinstance(error, (AttributeError, ImportError)) else "mend or uninstall"


class Registry(Mapping[str, Any]):
    """The plugins of one kind by name: ``layers["conv2d"]`` is the class.

    Parameters
    ----------
    kind : str
        The last part of the entry-point group: ``"layers"``, ``"models"``, ...
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._found: dict[str, list[Plugin]] | None = None
        self._loaded: dict[str, Any] = {}

    def refresh(self) -> None:
        """Clear the cache, so that the next look-up reads the metadata again."""
        self._found = None
        self._loaded.clear()

    def plugins(self) -> dict[str, list[Plugin]]:
        """Return the plugins by name without importing them. A name that is registered twice has several."""
        if self._found is None:
            found: dict[str, list[Plugin]] = {}
            for entry in sorted(importlib.metadata.entry_points(group=f"tinygrad_lab.{self.kind}")):
                dist = entry.dist
                name, version = (dist.name, dist.version) if dist else ("an unknown distribution", "?")
                plugin = Plugin(entry.name, entry.value, name, version, entry)
                if plugin not in found.setdefault(entry.name, []):
                    found[entry.name].append(plugin)
            self._found = dict(sorted(found.items()))
        return self._found

    def plugin(self, name: str) -> Plugin:
        """Return one plugin's metadata.

        Raises
        ------
        PluginError
            No distribution registers the name, or two distributions do.
        """
        self._check_name(name)
        candidates = self.plugins().get(name, [])
        if not candidates:
            what = NAMED.get(self.kind, "plugin")
            raise PluginError(f"{self.kind}: expected the name of a {what}, got {name!r}; {hint(name, self.plugins())}")
        if len({(c.target, c.distribution) for c in candidates}) > 1:
            raise PluginError(
                f"{self.kind}: expected one plugin {name!r}, got {len(candidates)}: "
                f"{'; '.join(map(str, candidates))}; uninstall one, or have its author prefix the name"
            )
        return candidates[0]

    def _check_name(self, name: object) -> None:
        """Check that a name is a string: a file may hold a number or a list in its place."""
        if not isinstance(name, str):
            what = NAMED.get(self.kind, "plugin")
            raise PluginError(f"{self.kind}: expected the name of a {what}, got {name!r:.60} ({type(name).__name__})")

    def __getitem__(self, name: str) -> Any:
        """Import a plugin and return it.

        Raises
        ------
        PluginError
            The name is unknown or registered twice, the import fails, or the plugin is made for another API.
        """
        self._check_name(name)
        if name not in self._loaded:
            plugin = self.plugin(name)
            try:
                with _outliving():
                    loaded = plugin.entry.load()
            except KeyboardInterrupt:  # Ctrl-C of the user
                raise
            except BaseException as error:  # a plugin may raise anything, even SystemExit
                raise PluginError(
                    f"{self.kind}: {name!r} ({plugin}) cannot be imported: {type(error).__name__}: {error}"
                    f"{_place(error)}; {_cure(error)} {plugin.distribution}"
                ) from error
            self._check(plugin, loaded)
            self._loaded[name] = loaded
        return self._loaded[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return a plugin, or the default if the name is not registered. A broken plugin still raises PluginError."""
        if name not in self:
            return default
        return self[name]

    def _check(self, plugin: Plugin, loaded: Any) -> None:
        """Check an imported plugin. This class checks nothing; `LayerRegistry` does."""

    def __iter__(self) -> Iterator[str]:
        return iter(self.plugins())

    def __len__(self) -> int:
        return len(self.plugins())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.plugins()

    def name_of(self, thing: Any) -> str:
        """Return the name under which a class or function is registered.

        Raises
        ------
        PluginError
            It is not registered.
        """
        for name, plugins in self.plugins().items():
            module, _, attribute = plugins[0].target.partition(":")
            if attribute == thing.__qualname__ and (thing.__module__ + ".").startswith(module + "."):
                return name
        for name, plugins in self.plugins().items():  # the target may re-export it from another module
            module, _, attribute = plugins[0].target.partition(":")
            if getattr(sys.modules.get(module), attribute, None) is thing:
                return name
        raise PluginError(
            f"{self.kind}: expected a registered plugin, got {thing.__module__}.{thing.__qualname__}; add it to the "
            f'entry points "tinygrad_lab.{self.kind}" of its distribution'
        )

    def options_of(self, name: str) -> list[str] | None:
        """Return the names of a plugin's options, or None if it takes ``**kwargs``."""
        parameters = inspect.signature(self[name]).parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return None
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        given = positional if self.kind in ("losses", "optimizers") else ()
        arrays = [name for name, p in parameters.items() if p.kind in given and p.default is p.empty]
        return [option for option in parameters if option not in ("rng", *arrays)]

    def check_options(self, name: str, options: Mapping[str, Any]) -> None:
        """Check the names and types of a plugin's options; the error suggests the nearest known name.

        Raises
        ------
        ConfigError
            The plugin has no such option.
        OptionError
            An option has the wrong type.
        """
        known = self.options_of(name)
        for option in options if known is not None else ():
            one_of(option, known or (), f"{self.kind}: option of {name!r}")
        check_types(f"{self.kind}: {name!r}", self[name], options)

    def status(self, name: str) -> str:
        """Import a plugin and return ``"ok"``, or the reason why it cannot be used."""
        try:
            self[name]
        except PluginError as error:
            return str(error)
        return "ok"

    def bind(self, table: Mapping[str, Any]) -> functools.partial[Any]:
        """Return the plugin that a table names, with the table's other entries bound as options.

        Parameters
        ----------
        table : mapping
            The registered ``name``, and options. An option may be such a table or contain such tables at any depth;
            `make` builds the plugin of each of them and replaces the table with the result.

        Raises
        ------
        PluginError
            The name is unknown, or the plugin is broken.
        ConfigError
            The table has no name, or an option is unknown.
        OptionError
            An option has the wrong type.
        """
        name, options = self._entries(table)
        self.check_options(name, options)
        return functools.partial(self[name], **options)

    def make(self, table: Mapping[str, Any], *args: Any, rng: Any = None) -> Any:
        """Call the plugin that a table names with the table's options (see `bind`), and return the result.

        Parameters
        ----------
        table : mapping
            ``name`` and options.
        *args : Any
            Arguments that are not settings, such as an optimizer's parameters.
        rng : int or numpy.random.Generator, optional
            Passed on to networks and layers. Layers inside of others draw from the same generator.

        Raises
        ------
        PluginError, ConfigError, OptionError
            The errors of `bind`, and a ConfigError if a required option is missing.

        Examples
        --------
        >>> schedules.make({"name": "warm_up", "length": 5, "after": {"name": "cosine", "length": 25}})
        WarmUp(length=5, start=0.1, after=CosineDecay(length=25, final=0.0))
        >>> inner = [{"name": "dense", "in_features": 3, "out_features": 2}, {"name": "tanh"}]
        >>> layers.make({"name": "sequential", "layers": inner}, rng=0)
        Sequential(Dense(3 -> 2), Tanh())
        """
        rng = rng if rng is None else np.random.default_rng(rng)
        return self.construct(*self._entries(table, rng=rng), *args, rng=rng)

    def _entries(self, table: Mapping[str, Any], rng: Any = None) -> tuple[str, dict[str, Any]]:
        """Return a table's name and its options, after building the plugins that tables inside it describe."""
        if "name" not in table:
            what = NAMED.get(self.kind, "plugin")
            raise ConfigError(
                f"{self.kind}: expected a table with the name of a {what}, got {dict(table)}{instead_of_name(table)}"
            )
        build = functools.partial(self.make, rng=rng)
        return table["name"], {k: _replaced(v, _is_table, build) for k, v in table.items() if k != "name"}

    def construct(self, name: str, options: Mapping[str, Any], *args: Any, rng: Any = None) -> Any:
        """Check a plugin's options, call it with them and return the result.

        Raises
        ------
        PluginError, ConfigError, OptionError
            The errors of `check_options`, and a ConfigError if the call does not fit the plugin's signature.
        """
        self.check_options(name, options)
        plugin, named = self[name], dict(options) if rng is None else {**options, "rng": rng}
        try:
            inspect.signature(plugin).bind(*args, **named)
        except TypeError as error:
            raise ConfigError(f"{self.kind}: expected options of {name!r}, got {options}: {error}") from error
        return plugin(*args, **named)


def instead_of_name(table: Mapping[str, Any]) -> str:
    """Return the end of a message about a table that has its name under another key."""
    key = next((key for key in ("type", "kind", "layer", "class") if isinstance(table.get(key), str)), None)
    return f"; write name = {table[key]!r} instead of {key} = {table[key]!r}" if key else ""


class LayerRegistry(Registry):
    """Registry of layers, which have a plugin API and configurations of their own."""

    def __init__(self) -> None:
        super().__init__("layers")

    def _check(self, plugin: Plugin, loaded: Any) -> None:
        if not (isinstance(loaded, type) and issubclass(loaded, Layer)):
            raise PluginError(f"layers: {plugin.name!r} ({plugin}): expected a subclass of Layer, got {loaded!r}")
        if loaded.api > API:
            raise PluginError(
                f"layers: {plugin.name!r} ({plugin}) is made for plugin API {loaded.api}, but this tinygrad_lab offers "
                f"{API}; upgrade tinygrad-lab"
            )
        if loaded.api < API - 1:
            raise PluginError(
                f"layers: {plugin.name!r} ({plugin}) is made for plugin API {loaded.api}, but this tinygrad_lab offers "
                f"{API} and {API - 1}; upgrade {plugin.distribution}"
            )

    def construct(self, name: str, options: Mapping[str, Any], *args: Any, rng: Any = None) -> Any:
        """Build a layer: by its ``from_config`` if it has one, and with ``rng`` if its constructor takes that."""
        cls = self[name]
        if hasattr(cls, "from_config"):
            return cls.from_config(dict(options))
        takes_rng = "rng" in inspect.signature(cls.__init__).parameters
        return super().construct(name, options, *args, rng=rng if takes_rng else None)


layers = LayerRegistry()
cases = Registry("cases")
models = Registry("models")
losses = Registry("losses")
optimizers = Registry("optimizers")
schedules = Registry("schedules")
datasets = Registry("datasets")
augmentations = Registry("augmentations")
metrics = Registry("metrics")
REGISTRIES: Mapping[str, Registry] = {
    one.kind: one
    for one in (layers, cases, models, losses, optimizers, schedules, datasets, augmentations, metrics)
}
"""Every registry by its kind."""
KINDS: Mapping[str, Registry] = {
    "layer": layers,
    "loss": losses,
    "optimizer": optimizers,
    "schedule": schedules,
    "augmentation": augmentations,
    "data": datasets,
    "metric": metrics,
    "model": models,
}
"""The registries of plugins by the word for one plugin; `cases` are not plugins of their own."""


def plugins_named(names: Sequence[str] = (), kind: str | None = None) -> list[tuple[str, str]]:
    """Return the plugins of the given names as pairs of kind and name; without names, all plugins.

    Plugins of different kinds may have the same name. All of them are returned, unless a kind is given.

    Raises
    ------
    PluginError
        No plugin has one of the names, or two distributions register it.

    Examples
    --------
    >>> plugins_named(["dense", "cosine"])
    [('layer', 'dense'), ('schedule', 'cosine')]
    """
    kinds = KINDS if kind is None else {kind: KINDS[kind]}
    found = []
    for name in names:
        of_name = [(word, name) for word, registry in kinds.items() if name in registry]
        if not of_name:
            what = f"a {kind}" if kind else "a plugin"
            known = sorted(set().union(*kinds.values()))
            raise PluginError(f"expected the name of {what}, got {name!r}; {hint(name, known)}")
        for word, _ in of_name:
            KINDS[word].plugin(name)
        found += of_name
    return found if names else [(word, name) for word, registry in kinds.items() for name in registry]


def describe(layer: Layer) -> dict[str, Any]:
    """Return a layer as plain values that JSON or TOML can hold: its registered name, version and configuration."""
    name = layers.name_of(type(layer))
    return {"layer": name, "version": layer.version, "config": {k: _to_json(v) for k, v in layer.config().items()}}


def _to_json(value: Any) -> Any:
    if isinstance(value, Layer):
        return describe(value)
    if isinstance(value, dict):
        return {k: _to_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    raise ConfigError(f"config: expected plain values, layers, lists and dicts, got {type(value).__name__}")


def build(description: Mapping[str, Any], *, rng: Any = None) -> Layer:
    """Return the layer of a description (see `describe`), with newly drawn weights.

    Raises
    ------
    PluginError, ConfigError, OptionError
        The plugin is missing, or the configuration does not fit it.
    """
    rng = rng if rng is None else np.random.default_rng(rng)  # one generator for all layers inside
    cls, inside = layers[description["layer"]], functools.partial(build, rng=rng)
    config = {key: _replaced(value, _is_description, inside) for key, value in description["config"].items()}
    if description.get("version", cls.version) != cls.version:
        config = cls.upgrade(config, description["version"])
    layer: Layer = layers.construct(description["layer"], config, rng=rng)
    return layer


def _is_table(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("name"), str)


def _is_description(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("layer"), str) and isinstance(value.get("config"), Mapping)


def _replaced(value: Any, described: Callable[[Mapping[str, Any]], bool], build: Callable[..., Any]) -> Any:
    """Return a value with each mapping inside it that describes a plugin, at any depth, replaced with the plugin."""
    if isinstance(value, Mapping):
        return build(value) if described(value) else {k: _replaced(v, described, build) for k, v in value.items()}
    if isinstance(value, list):
        return [_replaced(entry, described, build) for entry in value]
    return value
