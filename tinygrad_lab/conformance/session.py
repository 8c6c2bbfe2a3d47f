"""A session checks registered plugins one after another, and the kernels that they share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Unpack

from tinygrad_lab.backend import find_backend
from tinygrad_lab.conformance.kinds.table import PROPERTIES, inspect_plugin
from tinygrad_lab.conformance.meta.adequacy import demand_reached, kernels_in
from tinygrad_lab.conformance.meta.fresh_process import FRESH
from tinygrad_lab.conformance.trials.options import Keywords, Options
from tinygrad_lab.conformance.trials.results import Failure, LayerResult, PropertyResult
from tinygrad_lab.conformance.trials.verdict import Violation
from tinygrad_lab.errors import ConfigError, hint
from tinygrad_lab.registry import plugins_named

SHARED = "(shared kernels)"


def check_plugins(
    names: Sequence[str] = (),
    *,
    kind: str | None = None,
    mutants: bool = False,
    progress: Callable[[str], None] = lambda name: None,
    **options: Unpack[Keywords],
) -> list[LayerResult]:
    """Check registered plugins, all by default, and return the results.

    If all layers are checked, the cases must also reach every kernel that belongs to no layer.

    Parameters
    ----------
    names : sequence of str
        Registered names. Plugins of different kinds that share a name are all checked.
    kind : str, optional
        The only kind of plugins to check, such as ``"schedule"`` (see `tinygrad_lab.registry.KINDS`).
    mutants : bool
        Whether to damage each layer's own code in turn, and check that the kit notices.
    progress : callable
        Called with each plugin's kind and name before it is checked.
    **options
        As in `check_layer`.

    Raises
    ------
    PluginError
        A name is not registered, or two distributions register it.
    ConfigError, DeviceError
        The number of examples is below 1, or a device is unknown or its library not installed.
    """
    return list(check_each(names, kind=kind, mutants=mutants, progress=progress, **options))


def check_each(
    names: Sequence[str] = (),
    *,
    kind: str | None = None,
    mutants: bool = False,
    progress: Callable[[str], None] = lambda name: None,
    **options: Unpack[Keywords],
) -> Iterator[LayerResult]:
    """Check as `check_plugins` does, and yield each result as soon as it is known."""
    packed = Options.pack(**options)
    for device in packed.devices:
        find_backend(device)
    plugins = [(word, name) for word, name in plugins_named(names, kind) if concerns(word, packed)]
    kinds = {word for word, _ in plugins}
    if "layer" in kinds:
        FRESH.start()
    reached: set[int] = set()
    try:
        for word, name in plugins:
            progress(f"{word} {name}")
            if packed.properties is not None:
                options["properties"] = wanted(word, packed)
            result = inspect_plugin(word, name, **options)
            if mutants and word == "layer" and result.passed:
                from tinygrad_lab.conformance.mutants import kill_mutants

                progress(f"mutants of {name}")
                result.mutants = kill_mutants(name)
            if mutants and word != "layer":
                result.notes.append("no mutants: the kit damages layers only")
            reached |= result.reached
            yield result
        if not names and "layer" in kinds and packed.includes("kernels"):
            yield from shared_kernels(reached, packed.devices, kinds)
    finally:
        FRESH.stop()


def wanted(kind: str, options: Options) -> frozenset[str]:
    """Return the properties of a kind of plugins that are to be checked.

    Raises
    ------
    ConfigError
        No kind has one of the properties.
    """
    if options.properties is None:
        return PROPERTIES[kind]
    known = set().union(*PROPERTIES.values())
    for name in sorted(options.properties - known):
        raise ConfigError(f"properties: expected a known name, got {name!r}; {hint(name, sorted(known))}")
    return options.properties & PROPERTIES[kind]


def concerns(kind: str, options: Options) -> bool:
    """Return whether one of the wanted properties is about a kind of plugins; adequacy alone is about layers."""
    return bool(wanted(kind, options) - ({"adequacy"} if kind != "layer" else set()))


def shared_kernels(
    reached: Collection[int], devices: Collection[str] = (), kinds: Collection[str] = ("layer",)
) -> list[LayerResult]:
    """Return a result for the kernels that no layer owns: some case must reach each of them.

    The kernels of losses and optimizers count only if all plugins of these `kinds` were checked.
    """
    kernels: dict[int, Any] = kernels_in("tinygrad_lab.", devices)
    losses = kernels_in("tinygrad_lab.losses.", devices)
    if "loss" not in kinds:
        kernels = {key: kernels[key] for key in kernels.keys() - losses.keys()}
    if "optimizer" in kinds:
        kernels |= kernels_in("tinygrad_lab.optim.", devices, differentiable=False)
    if not kernels:
        return []
    found = PropertyResult("kernels", examples=len(kernels))
    try:
        demand_reached(kernels, {*reached})
    except Violation as error:
        found.failure = Failure(None, error, f"{SHARED}: {error}")
    return [LayerResult(SHARED, {"kernels": found})]
