"""The valid uses of `Sequential`."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import (
    BadInput,
    Case,
    Inner,
    Input,
    LayerCases,
    kink_distance_of,
    reference_of,
    strategies,
)


@st.composite
def draw_layers(draw: Any, features: int) -> list[Inner]:
    """Draw layers; each accepts the output of the one before it."""
    inner = []
    for kind in draw(st.lists(st.sampled_from(("dense", "tanh", "leaky_relu", "sequential")), max_size=4)):
        if kind == "dense":
            wide = draw(strategies.features(1, 4))
            inner.append(Inner("dense", args=(features, wide)))
            features = wide
        elif kind == "sequential":
            inner.append(Inner("sequential", args=(Inner("dense", args=(features, features)), Inner("softplus"))))
        else:
            inner.append(Inner(kind))
    return inner


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw zero or more layers, some of them with names."""
    features = draw(strategies.features(1, 4))
    layers = draw(draw_layers(features))
    named = ({f"step_{i}": inner for i, inner in enumerate(layers)},)
    args = named if draw(st.booleans()) else tuple(layers)
    return Case(args=args, inputs=(Input((draw(strategies.batch_sizes()), features)),))


def reference(layer: Any, *inputs: Any) -> Any:
    """Return the output of the layers' references, applied one after another."""
    for inner in layer:
        inputs = (reference_of(inner, *inputs),)
    return inputs[0]


def kink_distance(layer: Any, *inputs: Any) -> float:
    """Return the smallest distance of a layer's input to a kink."""
    nearest = float("inf")
    for inner in layer:
        nearest = min(nearest, kink_distance_of(inner, *inputs))
        inputs = (reference_of(inner, *inputs),)
    return nearest


cases = LayerCases(
    draw_case(),
    reference=reference,
    kink_distance=kink_distance,
    laws=("batch_independent",),
    bad_inputs=(
        BadInput(args=("dense",), error=tgl.errors.OptionError, match="expected layers, got str at 0"),
        BadInput(
            args=({"wide": Inner("dense", args=(3, 2)), "deep": Inner("dense", args=(3, 2))},),
            inputs=((4, 3),),
            error=tgl.errors.ShapeError,
            match="expected last axis 3, got 2",
        ),
    ),
)
