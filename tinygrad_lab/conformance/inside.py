"""Layers inside layers: what the cases of an inner layer know, for the cases of the layer around it.

The author of a layer that is put together from others writes down how; what the others compute is said by the
references of their own cases.
"""

from __future__ import annotations

from typing import Any

from tinygrad_lab import registry
from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.case import LayerCases
from tinygrad_lab.errors import ConfigError
from tinygrad_lab.layer import Layer


def cases_of(layer: Layer) -> LayerCases:
    """Return the registered cases of a layer's class."""
    found: LayerCases = registry.cases[registry.layers.name_of(type(layer))]
    return found


def reference_of(layer: Layer, *inputs: Array) -> Any:
    """Return what the reference of a registered layer gives.

    Raises
    ------
    ConfigError
        Its cases have no reference.
    """
    reference = cases_of(layer).reference
    if reference is None:
        raise ConfigError(f"reference_of: expected cases with a reference, got none in those of {layer}")
    return reference(layer, *inputs)


def kink_distance_of(layer: Layer, *inputs: Array) -> float:
    """Return how far the nearest kink of a registered layer is: infinitely far, if it is smooth."""
    distance = cases_of(layer).kink_distance
    return float("inf") if distance is None else float(distance(layer, *inputs))
