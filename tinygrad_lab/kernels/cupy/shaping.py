"""Concatenation on a GPU."""

from __future__ import annotations

from typing import Any

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.cupy.launch import room
from tinygrad_lab.ops.shaping import concatenate_parts


def _floats(*parts: Any, axis: int) -> bool:
    return all(p.dtype == parts[0].dtype and p.dtype.kind == "f" for p in parts)


@concatenate_parts.kernel("cupy", when=_floats)
def _concatenate(*parts: Array, axis: int) -> Array:
    """Copy each part to its place. CuPy's function sends addresses to the GPU, which a graph cannot capture."""
    length = sum(p.shape[axis] for p in parts)
    out = room((*parts[0].shape[:axis], length, *parts[0].shape[axis + 1 :]), parts[0])
    begin = 0
    for part in parts:
        end = begin + part.shape[axis]
        out[(slice(None),) * axis + (slice(begin, end),)] = part
        begin = end
    return out
