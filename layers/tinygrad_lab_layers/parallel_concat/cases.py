"""The valid uses of `ParallelConcat`."""

from __future__ import annotations

from typing import Any

import numpy as np
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
def draw_case(draw: Any) -> Case:
    """Draw branches of rows or of images, joined along an axis that fits."""
    rank = draw(st.sampled_from((2, 4)))
    shape = tuple(draw(st.integers(1, 3)) for _ in range(rank))
    axis = draw(st.integers(-rank, rank - 1))
    wide = shape[-1] if axis % rank != rank - 1 else None  # the features must agree, unless they are joined
    branches = []
    for kind in draw(st.lists(st.sampled_from(("dense", "tanh", "prelu")), min_size=1, max_size=3)):
        widths = {"dense": (shape[-1], wide or draw(strategies.features(1, 3))), "tanh": (), "prelu": (shape[-1],)}
        branches.append(Inner(kind, args=widths[kind]))
    given = {f"branch_{i}": b for i, b in enumerate(branches)} if draw(st.booleans()) else branches
    return Case(args=(given,), options={"axis": axis}, inputs=(Input(shape),))


def reference(layer: Any, x: Any) -> Any:
    """Return the joined results of the branches' references."""
    axis, parts = layer.config()["axis"], [reference_of(branch, x) for branch in layer.children().values()]
    rows = [row for part in parts for row in np.moveaxis(part, axis, 0)]
    return np.moveaxis(np.array(rows), 0, axis)


def kink_distance(layer: Any, x: Any) -> float:
    """Return the smallest distance of a branch to a kink."""
    return min(kink_distance_of(branch, x) for branch in layer.children().values())


cases = LayerCases(
    draw_case(),
    reference=reference,
    kink_distance=kink_distance,
    bad_inputs=(
        BadInput(args=([],), error=tgl.errors.OptionError, match=r"at least one branch, each a layer, got \[\]"),
        BadInput(args=(["tanh"],), error=tgl.errors.OptionError, match=r"each a layer, got \['str'\]"),
        BadInput(
            args=([Inner("tanh"), Inner("flatten")],),
            inputs=((2, 3, 4),),
            error=tgl.errors.ShapeError,
            match=r"only along axis -1, got shapes \[\(2, 3, 4\), \(2, 12\)\]",
        ),
        BadInput(
            args=([Inner("tanh")],),
            options={"axis": 2},
            inputs=((2, 3),),
            error=tgl.errors.ShapeError,
            match="results with an axis 2",
        ),
    ),
)
