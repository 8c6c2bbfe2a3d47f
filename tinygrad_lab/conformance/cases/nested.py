"""Layers inside layers: a case builds the inner layers, whose own cases provide references for the outer layer.

The author of a layer composed of others writes a reference for the composition only. The references in the cases of
the inner layers compute the parts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_lab import registry
from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Inner, LayerCases
from tinygrad_lab.errors import CallError, ConfigError, PluginError
from tinygrad_lab.nn.layer import Layer


def cases_of(layer: Layer) -> LayerCases:
    """Return the registered cases of a layer's class."""
    found: LayerCases = registry.cases[registry.layers.name_of(type(layer))]
    return found


def reference_of(layer: Layer, *inputs: Array) -> Any:
    """Return the result of a registered layer's reference.

    Raises
    ------
    ConfigError
        The layer's cases have no reference.
    """
    reference = cases_of(layer).reference
    if reference is None:
        raise ConfigError(f"reference_of: expected cases with a reference, got none in those of {layer}")
    return reference(layer, *inputs)


def kink_distance_of(layer: Layer, *inputs: Array) -> float:
    """Return the distance to the nearest kink of a registered layer; infinity if the layer is smooth."""
    distance = cases_of(layer).kink_distance
    return float("inf") if distance is None else float(distance(layer, *inputs))


def realize(value: Any, rng: np.random.Generator) -> Any:
    """Return a constructor's argument with a layer in place of every `Inner`."""
    if isinstance(value, Inner):
        cls = registry.layers[value.layer] if isinstance(value.layer, str) else value.layer
        return construct(cls, value.args, value.options, rng)
    if isinstance(value, dict):
        return {k: realize(v, rng) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(realize(v, rng) for v in value)
    return value


def construct(make: Callable[..., Any], args: Any, options: Any, rng: np.random.Generator) -> Any:
    """Call a constructor with the arguments of a case, and with the generator if it accepts `rng`."""
    args, options = realize(tuple(args), rng), realize(dict(options), rng)
    if "rng" not in options and "rng" in inspect.signature(make).parameters:
        options["rng"] = rng
    try:
        return make(*args, **options)
    except CallError as error:
        raise CallError(f"{error}; {_place_of_cases(make)} gives these arguments: adapt it") from error


def _place_of_cases(make: Any) -> str:
    """Return the place where the cases of a layer's class are defined."""
    try:
        return f"its strategy, {registry.cases.plugin(registry.layers.name_of(make)).target},"
    except PluginError:
        return "its strategy of cases"
