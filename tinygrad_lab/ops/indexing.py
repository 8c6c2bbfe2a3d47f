"""Indexing of every NumPy kind (basic, integer, boolean) and its adjoint, scatter-add; repetition of elements."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from tinygrad_lab import backend
from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.errors import DTypeError, OptionError, ShapeError
from tinygrad_lab.ops.operands import as_operand, takes_lists
from tinygrad_lab.ops.shaping import broadcast_to, expand_dims, one_axis, ravel, reshape


@primitive
def gather(xp: Any, x: Any, *, index: Any) -> Any:
    """Return x[index] (the adjoint of `scatter`)."""
    return x[index]


@primitive
def scatter(xp: Any, g: Any, *, index: Any, shape: tuple[int, ...]) -> Any:
    """Return zeros of a shape with g added at [index]; repeated positions accumulate (the adjoint of `gather`)."""
    out = xp.zeros(shape, dtype=g.dtype)
    if _is_basic(index):
        out[index] = g  # basic indexing selects each element once
    else:
        backend.scatter_add(out, index, g)
    return out


gather.defvjp(x=lambda g, x_like, index: scatter(g, index=index, shape=x_like.shape))
scatter.defvjp(g=lambda gg, index: gather(gg, index=index))


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is ... or (isinstance(p, (Integral, slice)) and not isinstance(p, bool)) for p in parts)


def getitem(x: Any, index: Any) -> Any:
    """Return x[index]. The index may hold tensors of integers or booleans."""
    index = tuple(map(unbox, index)) if isinstance(index, tuple) else unbox(index)
    return gather(x, index=index)


@takes_lists
def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """Return the elements at `indices` along an axis, or of the flattened array, as `numpy.take` does.

    Raises
    ------
    DTypeError
        The indices are not integers.
    IndexError
        An index is out of range (on the CPU; CuPy takes it modulo the length).
    OptionError
        There is no such axis.
    """
    if axis is None:
        x, axis = ravel(x), 0
    axis = one_axis(axis, x.ndim, "take")
    indices = unbox(indices)
    if not backend.is_array(indices):
        indices = backend.namespace(unbox(x)).asarray(indices)
        if not indices.size:  # an empty list has no elements that show its dtype
            indices = indices.astype(int)
    if indices.dtype.kind not in "iu":
        raise DTypeError(f"take: expected integer indices, got {indices.dtype.name}; use x[mask] for a mask")
    return gather(x, index=(*[slice(None)] * axis, indices))


@takes_lists
def repeat(x: Any, repeats: int | Sequence[int], axis: int | None = None) -> Any:
    """Return x with each element, or slice along an axis, several times in a row; without an axis, x is flattened.

    `repeats` is one number for all, or a number for each.

    Raises
    ------
    OptionError
        There is no such axis, or a number is negative or not an integer.
    ShapeError
        There are not as many numbers as elements along the axis.
    """
    if axis is None:
        x, axis = ravel(x), 0
    axis, given, shape = one_axis(axis, x.ndim, "repeat"), unbox(repeats), tuple(x.shape)
    given = given.tolist() if backend.is_array(given) else given
    counts = list(given) if isinstance(given, Sequence) else [given]
    if any(not isinstance(count, Integral) or int(count) < 0 for count in counts):
        raise OptionError(f"repeat: expected integers of at least 0, got {given}")
    if len(counts) not in (1, shape[axis]):
        raise ShapeError(f"repeat: expected {shape[axis]} numbers for axis {axis} of shape {shape}, got {given}")
    if len(counts) != 1:
        return take(x, [i for i, count in enumerate(counts) for _ in range(count)], axis)
    count = int(counts[0])
    wide = broadcast_to(expand_dims(x, axis + 1), shape=(*shape[: axis + 1], count, *shape[axis + 1 :]))
    return reshape(wide, shape=(*shape[:axis], shape[axis] * count, *shape[axis + 1 :]))


@primitive
def gather_along_axis(xp: Any, x: Any, positions: Any, *, axis: int) -> Any:
    """Return, for each row along an axis, the elements at that row's own positions."""
    return xp.take_along_axis(x, positions, axis)


@primitive
def scatter_along_axis(xp: Any, g: Any, positions: Any, *, axis: int, shape: tuple[int, ...]) -> Any:
    """Return zeros of a shape with each row of g along an axis added at that row's own positions."""
    out = xp.zeros(shape, dtype=g.dtype)
    grid = [xp.arange(n).reshape([-1 if i == j else 1 for j in range(g.ndim)]) for i, n in enumerate(shape)]
    grid[axis] = positions
    backend.scatter_add(out, tuple(grid), g)
    return out


gather_along_axis.defvjp(
    x=lambda g, x_like, positions, axis: scatter_along_axis(g, positions, axis=axis, shape=x_like.shape)
)
scatter_along_axis.defvjp(g=lambda gg, positions, axis: gather_along_axis(gg, positions, axis=axis))


def take_along_axis(x: Any, positions: Any, axis: int) -> Any:
    """Return, for each row along an axis, the elements at that row's own positions."""
    x, positions = as_operand(x, who="take_along_axis"), as_operand(positions, x, who="take_along_axis")
    axis = one_axis(axis, x.ndim, "take_along_axis")
    if positions.ndim != x.ndim:
        raise ShapeError(f"take_along_axis: expected positions with {x.ndim} axes, got shape {positions.shape}")
    return gather_along_axis(x, positions, axis=axis)
