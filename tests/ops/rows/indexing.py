"""Rows of the table: indexing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tests.ops.drawing import Draw, Shape, Trial, constant, generator, operation, pytorch, shapes, values


@st.composite
def indices(draw: Draw, shape: Shape) -> Any:
    """An index of any kind that NumPy accepts: integers, slices, None, ..., lists and arrays."""
    kind = draw(st.sampled_from(["basic", "integers", "mask", "row mask", "mixed", "list"]))
    rng = generator(draw)
    if kind == "mask":
        return rng.integers(0, 2, shape).astype(bool)
    if kind == "row mask" and shape:
        return rng.integers(0, 2, shape[:1]).astype(bool)
    if kind in ("integers", "mixed", "list") and (not shape or 0 in shape):
        kind = "basic"
    if kind == "list":
        return rng.integers(-shape[0], shape[0], 3).tolist()
    if kind == "integers":
        depth = draw(st.integers(1, len(shape)))
        grid = draw(shapes(dims=(0, 2)))
        arrays = tuple(rng.integers(-n, n, grid) for n in shape[:depth])
        return arrays[0] if depth == 1 else arrays
    parts: list[Any] = [draw(basic_index(n)) for n in shape]
    if kind == "mixed":
        for at in draw(st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1)):
            parts[at] = rng.integers(-shape[at], shape[at], 2)
    parts = parts[: draw(st.integers(0, len(parts)))]
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), None)
    if len(parts) <= len(shape) and draw(st.booleans()):
        parts.append(...)
    return tuple(parts)


@st.composite
def basic_index(draw: Draw, n: int) -> Any:
    """An integer or a slice, forward or backward."""
    if n and draw(st.booleans()):
        return draw(st.sampled_from([draw(st.integers(-n, n - 1)), np.int64(draw(st.integers(-n, n - 1)))]))
    ends = st.one_of(st.none(), st.integers(-n - 1, n + 1))
    return slice(draw(ends), draw(ends), draw(st.sampled_from([None, 1, 2, -1, -2])))


@operation("getitem")
def _getitem(draw: Draw) -> Trial:
    shape = draw(shapes())
    index = draw(indices(shape))
    moves = isinstance(index, np.ndarray | tuple)

    def at(x: Any) -> Any:
        if not moves:
            return index
        parts = index if isinstance(index, tuple) else (index,)
        moved = tuple(constant(p, x) if isinstance(p, np.ndarray) else p for p in parts)
        return moved if isinstance(index, tuple) else moved[0]

    backwards = any(isinstance(p, slice) and (p.step or 1) < 0 for p in (index if isinstance(index, tuple) else ()))

    def torch(x: Any) -> Any:
        parts = index if isinstance(index, tuple) else (index,)
        parts = tuple(int(p) if isinstance(p, np.int64) else p for p in parts)
        moved = tuple(pytorch().as_tensor(p) if isinstance(p, np.ndarray) else p for p in parts)
        return x[moved if isinstance(index, tuple) else moved[0]].clone()

    return Trial(
        lambda x: tgl.getitem(x, at(x)), [values(draw, shape)], lambda x: x[index], None if backwards else torch
    )


@operation("take")
def _take(draw: Draw) -> Trial:
    shape = draw(shapes(least=1, dims=(1, 3)))
    axis = draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    length = math.prod(shape) if axis is None else shape[axis]
    indices = generator(draw).integers(-length, length, draw(shapes(dims=(0, 2))))
    indices = draw(st.sampled_from([indices, indices.tolist()]))

    def torch(x: Any) -> Any:
        rows = x.reshape(-1) if axis is None else x.movedim(axis, 0)
        found = rows[pytorch().as_tensor(indices, dtype=pytorch().int64)]
        kept = np.ndim(indices)
        return (
            found
            if axis is None
            else found.movedim(tuple(range(kept)), tuple(range(axis % x.ndim, axis % x.ndim + kept)))
        )

    return Trial(
        lambda x: tgl.take(x, constant(indices, x) if isinstance(indices, np.ndarray) else indices, axis),
        [values(draw, shape)],
        lambda x: np.take(x, np.asarray(indices, int), axis),
        torch,
    )


@operation("repeat")
def _repeat(draw: Draw) -> Trial:
    x = values(draw, draw(shapes()))
    axis = draw(st.sampled_from([None, *range(-x.ndim, x.ndim)]))
    count = x.size if axis is None else x.shape[axis]
    repeats: Any = draw(st.integers(0, 3) | st.lists(st.integers(0, 3), min_size=count, max_size=count))
    return Trial(
        lambda x: tgl.repeat(x, repeats, axis),
        [x],
        lambda x: np.repeat(x, np.asarray(repeats, int), axis),
        lambda x: (x.reshape(-1) if axis is None else x).repeat_interleave(
            pytorch().as_tensor(repeats, dtype=pytorch().int64), dim=axis or 0
        ),
    )


@operation("take_along_axis")
def _take_along_axis(draw: Draw) -> Trial:
    shape = draw(shapes(least=1, dims=(1, 3)))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    at = axis % len(shape)
    rest = [n if draw(st.booleans()) else 1 for n in shape]
    rest[at] = draw(st.integers(0, 3))
    positions = generator(draw).integers(0, shape[at], rest)
    return Trial(
        lambda x: tgl.take_along_axis(x, constant(positions, x), axis),
        [values(draw, shape)],
        lambda x: np.take_along_axis(x, positions, axis),
        lambda x: pytorch().take_along_dim(x, pytorch().as_tensor(positions), axis),
    )
