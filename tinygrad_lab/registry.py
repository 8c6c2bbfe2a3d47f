"""The registry: plugins of every kind, found by entry points.

The built-in layers register through the same entry points that a stranger's distribution uses:

    [project.entry-points."tinygrad_lab.layers"]
    "acme.swish" = "acme_swish:Swish"

Discovery reads metadata only. A plugin is imported when it is asked for; one that is broken, made for another API, or
registered twice fails then, naming its distribution, and the others go on working.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from tinygrad_lab.arguments import check_types
from tinygrad_lab.errors import ConfigError, PluginError, hint
from tinygrad_lab.nn.layer import Layer

API = 1  # the plugin interface of this release; it and the one before are accepted
_EXIT = os._exit
NAMED = {"models": "network"}  # what people call a plugin of a kind


def one_of(name: str, known: Sequence[str], who: str) -> None:
    """Refuse a name that is not among the known ones, with the nearest that is.

    Raises
    ------
    ConfigError
        The name is unknown.
    """
    if name not in known:
        raise ConfigError(f"{who}: expected a known name, got {name!r}; {hint(name, known)}")


@contextmanager
def _outliving() -> Iterator[None]:
    """Raise SystemExit where ``os._exit`` would end the program inside the ``with`` block, without any message."""

    def refuse(status: int) -> NoReturn:
        raise SystemExit(f"os._exit({status})")

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = _EXIT  # never what another thread has put there


@dataclass(frozen=True)
class Plugin:
    """What the metadata say of one plugin.

    Parameters
    ----------
    name, target : str
        The registered name and ``module:attribute``.
    distribution, version : str
        Who ships it.
    entry : importlib.metadata.EntryPoint
        Loads it.
    """

    name: str
    target: str
    distribution: str
    version: str
    entry: Any

    def __str__(self) -> str:
        return f"{self.target} of {self.distribution} {self.version}"


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
        """Forget what was found, so that the next look-up reads the metadata again."""
        self._found = None
        self._loaded.clear()

    def plugins(self) -> dict[str, list[Plugin]]:
        """Return the plugins by name, without importing any; a name that is registered twice has several."""
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
        """Return what is known of one plugin.

        Raises
        ------
        PluginError
            Nobody registers that name, or two distributions do.
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
        """Refuse a number or a list from a file where a name belongs."""
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
            except KeyboardInterrupt:  # the user's
                raise
            except BaseException as error:  # a stranger's code may raise anything, SystemExit too
                raise PluginError(
                    f"{self.kind}: {name!r} ({plugin}) cannot be imported: {type(error).__name__}: {error}; "
                    f"reinstall or uninstall {plugin.distribution}"
                ) from error
            self._check(plugin, loaded)
            self._loaded[name] = loaded
        return self._loaded[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return a plugin, or the default if nobody registers that name; a broken one is an error all the same."""
        if name not in self:
            return default
        return self[name]

    def _check(self, plugin: Plugin, loaded: Any) -> None:
        if self.kind != "layers":
            return
        if not (isinstance(loaded, type) and issubclass(loaded, Layer)):
            raise PluginError(f"layers: {plugin.name!r} ({plugin}): expected a subclass of Layer, got {loaded!r}")
        if loaded.api > API:
            raise PluginError(
                f"layers: {plugin.name!r} ({plugin}) is made for plugin API {loaded.api}, this tinygrad_lab offers "
                f"{API}; upgrade tinygrad-lab"
            )
        if loaded.api < API - 1:
            raise PluginError(
                f"layers: {plugin.name!r} ({plugin}) is made for plugin API {loaded.api}, this tinygrad_lab offers "
                f"{API} and {API - 1}; upgrade {plugin.distribution}"
            )

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
        for name, plugins in self.plugins().items():  # what is exported elsewhere than where it is written
            module, _, attribute = plugins[0].target.partition(":")
            if getattr(sys.modules.get(module), attribute, None) is thing:
                return name
        raise PluginError(
            f"{self.kind}: expected a registered plugin, got {thing.__module__}.{thing.__qualname__}; add it to the "
            f'entry points "tinygrad_lab.{self.kind}" of its distribution'
        )

    def options_of(self, name: str) -> list[str] | None:
        """Return the names of the options that a plugin takes; None if it takes any."""
        parameters = inspect.signature(self[name]).parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return None
        return [option for option in parameters if option != "rng"]

    def check_options(self, name: str, options: Mapping[str, Any]) -> None:
        """Refuse an option that a plugin does not take, with the nearest that it does, and one of another type.

        Raises
        ------
        ConfigError
            It is unknown.
        OptionError
            It is of another type.
        """
        known = self.options_of(name)
        for option in options if known is not None else ():
            one_of(option, known or (), f"{self.kind}: option of {name!r}")
        check_types(f"{self.kind}: {name!r}", self[name], options)

    def status(self, name: str) -> str:
        """Return ``"ok"``, or why the plugin cannot be used; this imports it."""
        try:
            self[name]
        except PluginError as error:
            return str(error)
        return "ok"


layers = Registry("layers")
cases = Registry("cases")
models = Registry("models")
losses = Registry("losses")
optimizers = Registry("optimizers")
schedules = Registry("schedules")
datasets = Registry("datasets")
augmentations = Registry("augmentations")


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
    """Return the layer of a description, its weights drawn anew.

    Raises
    ------
    PluginError, ConfigError
        The plugin is not there, or the configuration is not one of its.
    """
    rng = rng if rng is None else np.random.default_rng(rng)  # one generator for all layers inside
    cls = layers[description["layer"]]
    config = {k: _built(v, rng) for k, v in description["config"].items()}
    if description.get("version", cls.version) != cls.version:
        config = cls.upgrade(config, description["version"])
    if hasattr(cls, "from_config"):
        return cls.from_config(config)  # type: ignore[no-any-return]  # a plugin's word
    takes_rng = rng is not None and "rng" in inspect.signature(cls.__init__).parameters
    try:
        return cls(**config, **({"rng": rng} if takes_rng else {}))  # type: ignore[no-any-return]  # a plugin's class
    except TypeError as error:
        raise ConfigError(
            f"{description['layer']}: expected a configuration of {cls.__name__}, got {config}: {error}"
        ) from error


def from_table(table: Mapping[str, Any], *, rng: Any = None) -> Layer:
    """Return the layer of a table as recipes hold it: its registered name and its options, among them such tables.

    Examples
    --------
    >>> inner = [{"name": "dense", "in_features": 3, "out_features": 2}, {"name": "tanh"}]
    >>> from_table({"name": "sequential", "layers": inner}, rng=0)
    Sequential(Dense(3 -> 2), Tanh())
    """
    return build(_described(table), rng=rng)


def _described(value: Any) -> Any:
    if isinstance(value, list):
        return [_described(entry) for entry in value]
    if not isinstance(value, Mapping):
        return value
    inner = {key: _described(entry) for key, entry in value.items() if key != "name"}
    return {"layer": value["name"], "config": inner} if "name" in value else inner


def _built(value: Any, rng: Any) -> Any:
    if isinstance(value, Mapping) and isinstance(value.get("layer"), str) and isinstance(value.get("config"), Mapping):
        return build(value, rng=rng)
    if isinstance(value, Mapping):
        return {k: _built(v, rng) for k, v in value.items()}
    if isinstance(value, list):
        return [_built(v, rng) for v in value]
    return value
