"""Rows of the table: operations with results of integers or booleans, which carry no gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tests.ops.drawing import Draw, broadcast_pair, generator, shapes, values


@dataclass
class Constant:
    """An operation with a result of integers or booleans, which carries no gradient."""

    arrays: Callable[[Draw], Sequence[np.ndarray]]
    f: Callable[..., Any]
    expected: Callable[..., Any]


def _two_near(draw: Draw) -> list[np.ndarray]:
    """Draw two arrays that have equal elements in some places."""
    first, second = broadcast_pair(draw)
    rng = generator(draw)
    return [rng.integers(-1, 2, first).astype(float), rng.integers(-1, 2, second).astype(float)]


def _two_masks(draw: Draw) -> list[np.ndarray]:
    return [np.asarray(a > 0) for a in _two_near(draw)]


def _one_filled(draw: Draw) -> list[np.ndarray]:
    return [generator(draw).integers(-1, 2, draw(shapes(least=1, dims=(1, 3)))).astype(float)]


def _not_all_finite(draw: Draw) -> list[np.ndarray]:
    x = values(draw, draw(shapes(dims=(1, 3))))
    x[..., :1] = draw(st.sampled_from([math.inf, -math.inf, math.nan, 0.0]))
    return [x]


COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
CONSTANTS: dict[str, Constant] = {
    **{name: Constant(_two_near, getattr(tgl, name), getattr(np, name)) for name in COMPARISONS},
    "bitwise_and": Constant(_two_masks, tgl.bitwise_and, np.bitwise_and),
    "bitwise_or": Constant(_two_masks, tgl.bitwise_or, np.bitwise_or),
    "bitwise_xor": Constant(_two_masks, tgl.bitwise_xor, np.bitwise_xor),
    "bitwise_not": Constant(lambda draw: _two_masks(draw)[:1], tgl.bitwise_not, np.invert),
    "isfinite": Constant(_not_all_finite, tgl.isfinite, np.isfinite),
    "argmax": Constant(_one_filled, lambda x: tgl.argmax(x, -1), lambda x: np.argmax(x, -1)),
    "argmin": Constant(_one_filled, tgl.argmin, np.argmin),
    "argsort": Constant(_one_filled, lambda x: tgl.argsort(x, 0), lambda x: np.argsort(x, 0, kind="stable")),
    "all": Constant(_two_near, lambda x, y: tgl.all(x, keepdims=True), lambda x, y: np.all(x, keepdims=True)),
    "any": Constant(_one_filled, lambda x: tgl.any(x, 0), lambda x: np.any(x, 0)),
}
