"""A session checks the registered layers one after another, and the kernels that they share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Unpack

from tinygrad_lab.backend import find_backend
from tinygrad_lab.conformance.checks import inspect_layer
from tinygrad_lab.conformance.losses import inspect_loss
from tinygrad_lab.conformance.meta.adequacy import demand_reached, kernels_in
from tinygrad_lab.conformance.meta.fresh_process import FRESH
from tinygrad_lab.conformance.optimizers import inspect_optimizer
from tinygrad_lab.conformance.trials.options import Keywords, Options
from tinygrad_lab.conformance.trials.results import Failure, LayerResult, PropertyResult
from tinygrad_lab.conformance.trials.verdict import Violation
from tinygrad_lab.registry import layers, losses, optimizers

SHARED = "(shared kernels)"


def check_layers(
    names: Sequence[str] = (),
    *,
    mutants: bool = False,
    progress: Callable[[str], None] = lambda name: None,
    **options: Unpack[Keywords],
) -> list[LayerResult]:
    """Check registered layers, all by default, and return the results.

    If all layers are checked, their cases must also reach every kernel that belongs to no layer. If `devices` are
    compared with the CPU, the kernels of losses and optimizers count too, so losses and optimizers are checked as well.

    Parameters
    ----------
    names : sequence of str
        Registered names.
    mutants : bool
        Whether to damage each layer's own code in turn, and check that the kit notices.
    progress : callable
        Called with each name before it is checked.
    **options
        As in `check_layer`.

    Raises
    ------
    PluginError
        A name is not registered, or a plugin is broken.
    ConfigError, DeviceError
        The number of examples is below 1, or a device is unknown or its library not installed.
    """
    return list(check_each(names, mutants=mutants, progress=progress, **options))


def check_each(
    names: Sequence[str] = (),
    *,
    mutants: bool = False,
    progress: Callable[[str], None] = lambda name: None,
    **options: Unpack[Keywords],
) -> Iterator[LayerResult]:
    """Check as `check_layers` does, and yield each result as soon as it is known."""
    packed = Options.pack(**options)
    for device in packed.devices:
        find_backend(device)
    for name in names:
        layers.plugin(name)
    FRESH.start()
    reached: set[int] = set()
    try:
        for name in names or list(layers):
            progress(name)
            result = inspect_one(name, **options)
            if mutants and result.passed:
                from tinygrad_lab.conformance.mutants import kill_mutants

                progress(f"mutants of {name}")
                result.mutants = kill_mutants(name)
            reached |= result.reached
            yield result
        if not names and packed.includes("kernels"):
            for result in beside_layers(progress, **options) if packed.devices else ():
                reached |= result.reached
                yield result
            yield from shared_kernels(reached, packed.devices)
    finally:
        FRESH.stop()


def beside_layers(progress: Callable[[str], None], **options: Unpack[Keywords]) -> Iterator[LayerResult]:
    """Yield the results of losses and optimizers for kernels on other devices."""
    kinds = (
        ("loss", losses, inspect_loss, ("devices", "kernels")),
        ("optimizer", optimizers, inspect_optimizer, ("kernels",)),
    )
    for kind, registry, inspect, properties in kinds:
        options["properties"] = properties
        for name in registry:
            progress(f"{kind} {name}")
            found = inspect(name, **options)
            found.name = f"{kind} {name}"
            yield found


def inspect_one(name: str, **options: Unpack[Keywords]) -> LayerResult:
    """Check one layer; a plugin that cannot be loaded counts as a failure, so that the others are still checked."""
    try:
        return inspect_layer(name, **options)
    except Exception as error:
        broken = PropertyResult("forward", failure=Failure(None, error, f"{name}: {type(error).__name__}: {error}"))
        return LayerResult(name, {"forward": broken})


def shared_kernels(reached: Collection[int], devices: Collection[str] = ()) -> list[LayerResult]:
    """Return a result for the kernels that no layer owns: some case must reach each of them.

    The kernels of losses and optimizers count only if `devices` are compared with the CPU, since only then do they run.
    """
    kernels = kernels_in("tinygrad_lab.", devices)
    beside = kernels_in("tinygrad_lab.losses.", devices)
    beside |= kernels_in("tinygrad_lab.optim.", devices, differentiable=False)
    kernels = kernels | beside if devices else {key: kernels[key] for key in kernels.keys() - beside.keys()}
    if not kernels:
        return []
    found = PropertyResult("kernels", examples=len(kernels))
    try:
        demand_reached(kernels, {*reached})
    except Violation as error:
        found.failure = Failure(None, error, f"{SHARED}: {error}")
    return [LayerResult(SHARED, {"kernels": found})]
