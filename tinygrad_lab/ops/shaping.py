"""Shape operations, which move or repeat elements. Each comes with its adjoint.

Adjoint pairs: sum_to / broadcast_to, reshape / reshape, transpose / transpose, pad / crop, concatenate / split,
flip / flip, roll / roll, tile / sum over the copies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from operator import index
from typing import Any

from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import NUMBERS, carries_gradient
from tinygrad_lab.errors import DTypeError, OptionError, ShapeError
from tinygrad_lab.foreign_names import names_options
from tinygrad_lab.ops.operands import as_operand, takes_lists

Axes = int | Sequence[int] | None


def normalize_axes(axis: Axes, ndim: int, who: str = "axis") -> tuple[int, ...]:
    """Return axes as a tuple of distinct non-negative numbers; None means all of them."""
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(map(index, axis)) if isinstance(axis, Iterable) else (index(axis),)
    if any(not -ndim <= a < ndim for a in axes):
        known = f"axes from {-ndim} to {ndim - 1}" if ndim else "no axis of a 0-dimensional array"
        raise OptionError(f"{who}: expected {known}, got {axis}")
    axes = tuple(a % ndim for a in axes)
    if len(set(axes)) != len(axes):
        raise OptionError(f"{who}: expected each axis once, got {axis}")
    return axes


def one_axis(axis: Any, ndim: int, who: str) -> int:
    """Return an axis as a non-negative number."""
    try:
        return normalize_axes(index(axis), ndim, who)[0]
    except TypeError:
        raise OptionError(f"{who}: expected one axis, an integer, got {axis!r}") from None


@primitive
def reshape(xp: Any, x: Any, *, shape: tuple[int, ...]) -> Any:
    """Return x's elements in row-major order in another shape; one length may be -1."""
    return xp.reshape(x, shape)


reshape.defvjp(x=lambda g, x_like: reshape(g, shape=x_like.shape))


@takes_lists
def ravel(x: Any) -> Any:
    """Return the elements of x along one axis, in row-major order."""
    return reshape(x, shape=(-1,))


@primitive
def transpose(xp: Any, x: Any, *, axes: tuple[int, ...] | None = None) -> Any:
    """Return x with its axes in another order; by default reversed."""
    return xp.transpose(x, axes)


def _transpose_rule(g: Any, axes: tuple[int, ...] | None) -> Any:
    if axes is None:
        return transpose(g)
    inverse = sorted(range(len(axes)), key=lambda i: axes[i] % len(axes))
    return transpose(g, axes=tuple(inverse))


transpose.defvjp(x=_transpose_rule)


@primitive
def broadcast_to(xp: Any, x: Any, *, shape: tuple[int, ...]) -> Any:
    """Repeat x along new leading axes and along axes of length 1 (the adjoint of `sum_to`)."""
    return xp.broadcast_to(x, shape)


broadcast_to.defvjp(x=lambda g, x_like: sum_to(g, x_like))


def add_up(xp: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool = False) -> Any:
    """Return the sum of a raw array over some axes; float16 is added in float32 and rounded once."""
    if x.dtype != "float16":
        return xp.sum(x, axis=axis, keepdims=keepdims)
    return xp.sum(x, axis=axis, keepdims=keepdims, dtype="float32").astype("float16")


@primitive
def sum_to_shape(xp: Any, x: Any, *, shape: tuple[int, ...]) -> Any:
    """Sum x over the axes along which broadcasting from `shape` repeats elements (the adjoint of `broadcast_to`)."""
    extra = x.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(i for i in range(extra, x.ndim) if shape[i - extra] == 1 != x.shape[i])
    return xp.reshape(add_up(xp, x, axis=axes), shape)


sum_to_shape.defvjp(x=lambda g, x_like: broadcast_to(g, shape=x_like.shape))


def sum_to(x: Any, like: Any) -> Any:
    """Sum x over broadcast axes to the shape of `like`; return x itself if it already has that shape."""
    return x if x.shape == like.shape else sum_to_shape(x, shape=like.shape)


@primitive
def astype(xp: Any, x: Any, *, dtype: Any) -> Any:
    """Return x converted to another numeric dtype; the gradient is converted back."""
    if xp.dtype(dtype).type not in NUMBERS:
        raise DTypeError(f"astype: expected a numeric dtype such as 'float32' or 'bool', got {xp.dtype(dtype)}")
    return x.astype(dtype)


def _astype_rule(g: Any, x_like: Any) -> Any:
    if g.dtype.kind == "c" != x_like.dtype.kind:
        raise DTypeError(f"expected a real cotangent for {x_like.dtype}, got {g.dtype}; differentiate the real part")
    return astype(g, dtype=x_like.dtype)


astype.defvjp(x=_astype_rule)


@takes_lists
def expand_dims(x: Any, axis: int | Sequence[int]) -> Any:
    """Return x with new axes of length 1 at the given positions of the result."""
    count = len(axis) if isinstance(axis, Sequence) else 1
    axes = normalize_axes(axis, x.ndim + count, "expand_dims")
    lengths = iter(x.shape)
    return reshape(x, shape=tuple(1 if i in axes else next(lengths) for i in range(x.ndim + count)))


@takes_lists
def squeeze(x: Any, axis: Axes = None) -> Any:
    """Return x without the given axes of length 1; by default without all axes of length 1."""
    axes = [i for i, n in enumerate(x.shape) if n == 1] if axis is None else normalize_axes(axis, x.ndim, "squeeze")
    if wrong := [i for i in axes if x.shape[i] != 1]:
        raise ShapeError(f"squeeze: expected axes of length 1, got axis {wrong[0]} of shape {x.shape}")
    return reshape(x, shape=tuple(n for i, n in enumerate(x.shape) if i not in axes))


@takes_lists
def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    """Return x with some axes moved to other positions; the other axes keep their order."""
    sources = normalize_axes(source, x.ndim, "moveaxis")
    destinations = normalize_axes(destination, x.ndim, "moveaxis")
    if len(sources) != len(destinations):
        got = f"source {source} and destination {destination}"
        raise OptionError(f"moveaxis: expected as many destinations as sources, got {got}")
    order = [i for i in range(x.ndim) if i not in sources]
    for place, axis in sorted(zip(destinations, sources, strict=True)):
        order.insert(place, axis)
    return transpose(x, axes=tuple(order))


@takes_lists
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Return x with two axes exchanged."""
    order = list(range(x.ndim))
    (a,), (b,) = (normalize_axes(axis, x.ndim, "swapaxes") for axis in (axis1, axis2))
    order[a], order[b] = b, a
    return transpose(x, axes=tuple(order))


@primitive
def flip_axes(xp: Any, x: Any, *, axes: tuple[int, ...]) -> Any:
    """Return x reversed along some axes."""
    return xp.flip(x, axes)


flip_axes.defvjp(x=lambda g, axes: flip_axes(g, axes=axes))


@takes_lists
def flip(x: Any, axis: Axes = None) -> Any:
    """Return x reversed along the given axes; by default along all."""
    return flip_axes(x, axes=normalize_axes(axis, x.ndim, "flip"))


@primitive
def roll_axes(xp: Any, x: Any, *, shifts: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """Return x shifted cyclically along some axes."""
    return xp.roll(x, shifts, axes)


roll_axes.defvjp(x=lambda g, shifts, axes: roll_axes(g, shifts=tuple(-s for s in shifts), axes=axes))


@takes_lists
def roll(x: Any, shift: int | Sequence[int], axis: Axes = None) -> Any:
    """Return x shifted cyclically along axes; without an axis, x is shifted as a flat array."""
    if axis is None:
        if isinstance(shift, Sequence):
            raise OptionError(f"roll: expected a single shift if no axis is given, got {shift}")
        return reshape(roll_axes(reshape(x, shape=(-1,)), shifts=(shift,), axes=(0,)), shape=x.shape)
    axes = normalize_axes(axis, x.ndim, "roll")
    shifts = tuple(shift) if isinstance(shift, Sequence) else (shift,) * len(axes)
    return roll_axes(x, shifts=shifts, axes=axes)


Widths = tuple[tuple[int, int], ...]


@primitive
def pad_zeros(xp: Any, x: Any, *, widths: Widths) -> Any:
    """Return x with zeros around it (the adjoint of `crop`)."""
    return xp.pad(x, widths) if widths else x


@primitive
def crop(xp: Any, x: Any, *, widths: Widths) -> Any:
    """Return x without `widths` elements at the two ends of each axis (the adjoint of `pad_zeros`)."""
    if len(widths) != x.ndim or any(a < 0 or b < 0 or a + b > n for (a, b), n in zip(widths, x.shape, strict=True)):
        raise ShapeError(f"crop: expected a pair of widths that fit into each axis, got {widths} for shape {x.shape}")
    return x[tuple(slice(a, n - b) for (a, b), n in zip(widths, x.shape, strict=True))]


pad_zeros.defvjp(x=lambda g, widths: crop(g, widths=widths))
crop.defvjp(x=lambda g, widths: pad_zeros(g, widths=widths))


@primitive
def pad_edge(xp: Any, x: Any, *, widths: Widths) -> Any:
    """Return x with its border repeated around it (the adjoint of `fold_edge`)."""
    return xp.pad(x, widths, mode="edge") if widths else x


def along(axis: int, start: int, stop: int | None) -> tuple[slice, ...]:
    """Return the index of a slice of one axis."""
    return (slice(None),) * axis + (slice(start, stop),)


@primitive
def fold_edge(xp: Any, x: Any, *, widths: Widths) -> Any:
    """Return the middle of x with the cropped elements added to its border (the adjoint of `pad_edge`)."""
    for axis, (before, after) in enumerate(widths):
        end = x.shape[axis] - after
        middle = xp.array(x[along(axis, before, end)])
        middle[along(axis, 0, 1)] += xp.sum(x[along(axis, 0, before)], axis=axis, keepdims=True)
        middle[along(axis, -1, None)] += xp.sum(x[along(axis, end, None)], axis=axis, keepdims=True)
        x = middle
    return x


pad_edge.defvjp(x=lambda g, widths: fold_edge(g, widths=widths))
fold_edge.defvjp(x=lambda g, widths: pad_edge(g, widths=widths))


@takes_lists
def pad(x: Any, widths: int | tuple[int, int] | Sequence[tuple[int, int]], *, mode: str = "zero") -> Any:
    """Return x padded with zeros or with its border.

    Parameters
    ----------
    x : Tensor or array
        Any shape.
    widths : int, (before, after), or a pair for each axis
        How many elements to add at the ends of each axis.
    mode : {"zero", "edge"}
        Pad with zeros, or repeat the border.

    Raises
    ------
    OptionError
        A width is negative, the mode is unknown, or an empty axis has no edge to repeat.
    """
    given: Any = widths if isinstance(widths, Sequence) else (widths, widths)
    pairs = tuple(map(tuple, given)) if all(isinstance(w, Sequence) for w in given) else (tuple(given),) * x.ndim
    if len(pairs) != x.ndim or any(len(p) != 2 or min(p) < 0 for p in pairs):
        raise OptionError(f"pad: expected {x.ndim} pairs of non-negative widths, got {widths}; use crop to cut")
    if mode not in ("zero", "edge"):
        raise OptionError(f"pad: expected mode 'zero' or 'edge', got {mode!r}")
    if mode == "edge" and any(n == 0 and widths != (0, 0) for n, widths in zip(x.shape, pairs, strict=True)):
        raise OptionError(f"pad: expected a border to repeat, got an empty array of shape {x.shape}")
    return (pad_zeros if mode == "zero" else pad_edge)(x, widths=pairs)


@primitive
def concatenate_parts(xp: Any, *parts: Any, axis: int) -> Any:
    """Join arrays along an axis."""
    return xp.concatenate(parts, axis=axis)


def _concatenate_rule(g: Any, parts_like: Any, axis: int) -> list[Any]:
    ends = accumulate((like.shape[axis] for like in parts_like), initial=0)
    return _cut(g, pairwise(ends), axis)


concatenate_parts.defvjp(parts=_concatenate_rule)


def _parts(parts: Any, who: str) -> list[Any]:
    """Return parts as arrays; lists get the float dtype of the tensors and arrays among the parts."""
    parts = list(parts)  # it may be a generator
    like = next((p for p in parts if carries_gradient(unbox(p))), None)
    return [as_operand(p, like, who=who) for p in parts]


def _joined(parts: list[Any], axis: int, who: str) -> Any:
    """Join arrays along an axis; `who` is the subject of error messages."""
    if not parts:
        raise ShapeError(f"{who}: expected at least one part, got none")
    axis = one_axis(axis, parts[0].ndim, who)
    shapes = [p.shape[:axis] + p.shape[axis + 1 :] for p in parts]
    if len(set(shapes)) > 1:
        raise ShapeError(
            f"{who}: expected parts that differ only along axis {axis}, got shapes {[p.shape for p in parts]}"
        )
    return concatenate_parts(*parts, axis=axis)


@names_options
def concatenate(parts: Sequence[Any], axis: int = 0) -> Any:
    """Join arrays that agree in every axis but one."""
    return _joined(_parts(parts, "concatenate"), axis, "concatenate")


@names_options
def stack(parts: Sequence[Any], axis: int = 0) -> Any:
    """Join arrays of one shape along a new axis."""
    parts = _parts(parts, "stack")
    if len({p.shape for p in parts}) != 1:
        raise ShapeError(f"stack: expected parts of one shape, got {[p.shape for p in parts]}")
    return concatenate([expand_dims(p, axis) for p in parts], axis)


def _raised(x: Any, ndim: int) -> Any:
    """Return x with at least `ndim` axes: (n,) -> (1, n) -> (1, n, 1), and (m, n) -> (m, n, 1), as in NumPy."""
    missing = ndim - x.ndim
    if missing <= 0:
        return x
    before = missing // 2 if ndim == 3 else missing
    return reshape(x, shape=(*(1,) * before, *x.shape, *(1,) * (missing - before)))


def _each_raised(xs: tuple[Any, ...], ndim: int, who: str) -> Any:
    raised = tuple(_raised(as_operand(x, who=who), ndim) for x in xs)
    return raised[0] if len(raised) == 1 else raised


def atleast_1d(*xs: Any) -> Any:
    """Return x with at least one axis, or a tuple of results for several arguments."""
    return _each_raised(xs, 1, "atleast_1d")


def atleast_2d(*xs: Any) -> Any:
    """Return x with at least two axes, new ones first, or a tuple of results for several arguments."""
    return _each_raised(xs, 2, "atleast_2d")


def atleast_3d(*xs: Any) -> Any:
    """Return x with at least three axes, (1, n, 1) and (m, n, 1), or a tuple of results for several arguments."""
    return _each_raised(xs, 3, "atleast_3d")


def vstack(parts: Sequence[Any]) -> Any:
    """Join arrays along the first axis; vectors are rows."""
    return _joined([_raised(p, 2) for p in _parts(parts, "vstack")], 0, "vstack")


def hstack(parts: Sequence[Any]) -> Any:
    """Join arrays along the second axis, vectors along their only one."""
    raised = [_raised(p, 1) for p in _parts(parts, "hstack")]
    return _joined(raised, 1 if raised and raised[0].ndim > 1 else 0, "hstack")


def dstack(parts: Sequence[Any]) -> Any:
    """Join arrays along the third axis, which is added to vectors and matrices."""
    return _joined([_raised(p, 3) for p in _parts(parts, "dstack")], 2, "dstack")


def column_stack(parts: Sequence[Any]) -> Any:
    """Join arrays along the second axis; vectors are columns."""
    columns = [transpose(_raised(p, 2)) if p.ndim < 2 else p for p in _parts(parts, "column_stack")]
    return _joined(columns, 1, "column_stack")


def _cut(x: Any, stretches: Iterable[tuple[int, int]], axis: int) -> list[Any]:
    """Return the part of x from start to stop along an axis, for each (start, stop)."""
    parts = []
    for start, stop in stretches:
        widths = [(0, 0)] * x.ndim
        widths[axis] = (start, x.shape[axis] - stop)
        parts.append(crop(x, widths=tuple(widths)))
    return parts


@takes_lists
def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> list[Any]:
    """Cut x along an axis into a number of equal parts, or before each given position, as `numpy.split` does.

    Raises
    ------
    OptionError
        There is no such axis, or the sections are not integers.
    ShapeError
        The axis cannot be divided into that many equal parts.
    """
    axis = one_axis(axis, x.ndim, "split")
    total, given = x.shape[axis], unbox(sections)
    try:
        count = index(given)
    except TypeError:
        return _cut(x, _stretches(given, total), axis)
    if count < 1 or total % count:
        raise ShapeError(
            f"split: expected a number of sections that divides {total}, the length of axis {axis}, got {sections} "
            f"(x.shape == {x.shape}); for unequal parts give a list of positions"
        )
    length = total // count
    return _cut(x, [(i * length, (i + 1) * length) for i in range(count)], axis)


def _stretches(positions: Any, total: int) -> list[tuple[int, int]]:
    """Return (start, stop) of the parts of an axis that is cut before each position."""
    try:
        places = [0, *map(index, positions), total]
    except TypeError:
        raise OptionError(f"split: expected a number of parts or a list of positions, got {positions!r}") from None
    cuts = [slice(start, stop).indices(total)[:2] for start, stop in pairwise(places)]
    return [(start, max(start, stop)) for start, stop in cuts]


@takes_lists
def tile(x: Any, repeats: int | Sequence[int]) -> Any:
    """Return copies of x side by side, `repeats` along each axis."""
    counts = tuple(map(index, repeats)) if isinstance(repeats, Iterable) else (index(repeats),)
    counts = (1,) * (x.ndim - len(counts)) + counts
    x = reshape(x, shape=(1,) * (len(counts) - x.ndim) + tuple(x.shape))
    interleaved = tuple(n for length in x.shape for n in (1, length))  # (1, n0, 1, n1, ...)
    repeated = tuple(n for pair in zip(counts, x.shape, strict=True) for n in pair)  # (r0, n0, r1, n1, ...)
    whole = tuple(r * n for r, n in zip(counts, x.shape, strict=True))
    return reshape(broadcast_to(reshape(x, shape=interleaved), shape=repeated), shape=whole)
