"""Reductions over any axes, cumulative sums and products, differences, and sorting.

If several elements attain a maximum or minimum, each gets an equal share of the gradient. If the result is NaN, the
elements that are NaN share the gradient.
"""

from __future__ import annotations

import math
from typing import Any

from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.autograd.tape import Box, unbox
from tinygrad_lab.backend import beside
from tinygrad_lab.errors import OptionError, ShapeError
from tinygrad_lab.ops.arithmetic import equal, not_equal, where
from tinygrad_lab.ops.elementary import exp, sqrt
from tinygrad_lab.ops.indexing import take_along_axis
from tinygrad_lab.ops.operands import takes_lists
from tinygrad_lab.ops.shaping import (
    Axes,
    add_up,
    along,
    astype,
    broadcast_to,
    concatenate,
    flip,
    normalize_axes,
    one_axis,
    ravel,
    reshape,
    transpose,
)
from tinygrad_lab.ops.widths import Floating, expect_real, in_floats


def kept_shape(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a reduction that keeps its axes with length 1."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


@primitive
def sum_axes(xp: Any, x: Any, *, axes: tuple[int, ...], keepdims: bool = False) -> Any:
    """Sum over some axes."""
    return add_up(xp, x, axis=axes, keepdims=keepdims)


def _spread(g: Any, x_like: Any, axes: tuple[int, ...]) -> Any:
    return broadcast_to(reshape(g, shape=kept_shape(x_like.shape, axes)), shape=x_like.shape)


sum_axes.defvjp(x=_spread)


@takes_lists
def sum(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Any:  # NumPy's name
    """Return the sum over the given axes; by default over all."""
    return sum_axes(x, axes=normalize_axes(axis, x.ndim, "sum"), keepdims=keepdims)


@takes_lists
def count(x: Any, axis: Axes = None) -> int:
    """Return the number of elements that a reduction over the given axes combines."""
    return math.prod(x.shape[i] for i in normalize_axes(axis, x.ndim, "count"))


@in_floats
def mean(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Any:
    """Return the mean over the given axes; NaN for no elements, as in NumPy."""
    return sum(x, axis, keepdims=keepdims) / (count(x, axis) or math.nan)


@in_floats
def var(x: Any, axis: Axes = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    """Return the variance over the given axes, with divisor count - ddof; NaN if the divisor is not positive."""
    expect_real(x, "var")
    centered = x - mean(x, axis, keepdims=True)
    freedom = count(x, axis) - ddof
    return sum(centered * centered, axis, keepdims=keepdims) / (freedom if freedom > 0 else math.nan)


@takes_lists
def std(x: Any, axis: Axes = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    """Return the square root of the variance. Where the variance is 0, the gradient is taken as 0."""
    expect_real(x, "std")
    return _root(var(x, axis, ddof=ddof, keepdims=keepdims))


@in_floats
def norm(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Any:
    """Return the Euclidean norm over the given axes; its gradient at 0 is taken as 0."""
    expect_real(x, "norm")
    return _root(sum(x * x, axis, keepdims=keepdims))


def _root(squares: Any) -> Any:
    zero = equal(squares, 0.0)
    return where(zero, 0.0, sqrt(where(zero, 1.0, squares)))


@primitive
def max_axes(xp: Any, x: Any, *, axes: tuple[int, ...], keepdims: bool = False) -> Any:
    """Return the largest element over some axes, NaN if an element is NaN."""
    return xp.max(x, axis=axes, keepdims=keepdims)


@primitive
def min_axes(xp: Any, x: Any, *, axes: tuple[int, ...], keepdims: bool = False) -> Any:
    """Return the smallest element over some axes, NaN if an element is NaN."""
    return xp.min(x, axis=axes, keepdims=keepdims)


def count_winners(x: Any, out: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
    """Return 1 where x attains the maximum or minimum `out`, or is NaN, and 0 elsewhere, and the sums of these."""
    at_out = astype(equal(x, reshape(out, shape=kept_shape(x.shape, axes))), dtype=x.dtype)
    winners = at_out + astype(not_equal(x, x), dtype=x.dtype)
    return winners, sum_axes(winners, axes=axes, keepdims=True)


def _share_among_winners(g: Any, x: Any, out: Any, axes: tuple[int, ...]) -> Any:
    winners, count = count_winners(x, out, axes)
    return winners * (reshape(g, shape=kept_shape(x.shape, axes)) / count)


max_axes.defvjp(x=_share_among_winners)
min_axes.defvjp(x=_share_among_winners)


def _not_empty(who: str, x: Any, axis: Axes) -> tuple[int, ...]:
    axes = normalize_axes(axis, x.ndim, who)
    if 0 in [x.shape[i] for i in axes]:
        raise ShapeError(f"{who}: expected at least one element along axes {axes}, got x.shape == {x.shape}")
    return axes


@takes_lists
def max(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Any:  # NumPy's name
    """Return the largest element over the given axes; by default over all."""
    return max_axes(x, axes=_not_empty("max", x, axis), keepdims=keepdims)


@takes_lists
def min(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Any:  # NumPy's name
    """Return the smallest element over the given axes; by default over all."""
    return min_axes(x, axes=_not_empty("min", x, axis), keepdims=keepdims)


def _as_rows(x: Any, axes: tuple[int, ...]) -> Any:
    """Move some axes to the end and merge them into one."""
    others = tuple(i for i in range(x.ndim) if i not in axes)
    rows = transpose(x, axes=(*others, *axes))
    length = math.prod(x.shape[i] for i in axes)
    return reshape(rows, shape=(*(x.shape[i] for i in others), length))  # (others..., product of axes)


def _widest(x: Any) -> Any:
    """Return integers and booleans as integers of 64 bits, in which NumPy multiplies them; floats unchanged."""
    wide = {"b": "int64", "i": "int64", "u": "uint64"}.get(x.dtype.kind)
    return astype(x, dtype=wide) if wide else x


@takes_lists
def prod(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Any:
    """Return the product over the given axes.

    The first half of the elements is multiplied by the second half until one element is left. This needs no division,
    so derivatives of every order exist even if factors are zero.
    """
    axes = normalize_axes(axis, x.ndim, "prod")
    rows = _as_rows(_widest(x), axes)
    while (n := rows.shape[-1]) > 1:
        half = n // 2
        left, right, last = rows[..., :half], rows[..., half : 2 * half], rows[..., 2 * half :]
        rows = concatenate([left * right, last], -1) if n % 2 else left * right
    if not n:
        rows = sum_axes(rows, axes=(rows.ndim - 1,), keepdims=True) + 1
    return reshape(rows, shape=kept_shape(x.shape, axes) if keepdims else rows.shape[:-1])


@takes_lists
def logsumexp(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Any:
    """Return log(sum(exp(x))) over the given axes. The maximum is subtracted first, so nothing overflows."""
    axes = normalize_axes(axis, x.ndim, "logsumexp")
    return logsumexp_axes(x, axes=axes, keepdims=keepdims)


def peak(xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
    """Return the maximum of a raw array over some axes, which are kept; 0 if there are no elements."""
    return xp.max(x, axis=axes, keepdims=True) if math.prod(x.shape[i] for i in axes) else xp.zeros((), x.dtype)


@Floating
def logsumexp_axes(xp: Any, x: Any, *, axes: tuple[int, ...], keepdims: bool = False) -> Any:
    """Return log(sum(exp(x))) over some axes."""
    shift = peak(xp, x, axes)
    shift = xp.where(xp.isfinite(shift), shift, xp.zeros((), x.dtype))
    with_axes = xp.log(xp.sum(xp.exp(x - shift), axis=axes, keepdims=True)) + shift
    return with_axes if keepdims else xp.squeeze(with_axes, axis=axes)


def _softmax_weights(g: Any, x: Any, out: Any, axes: tuple[int, ...]) -> Any:
    shape = kept_shape(x.shape, axes)
    return reshape(g, shape=shape) * exp(x - reshape(out, shape=shape))


logsumexp_axes.defvjp(x=_softmax_weights)


@primitive
def cumsum_axis(xp: Any, x: Any, *, axis: int) -> Any:
    """Return the sums of the first 1, 2, 3, ... elements along an axis."""
    return xp.cumsum(x, axis=axis)


cumsum_axis.defvjp(x=lambda g, axis: flip(cumsum_axis(flip(g, axis), axis=axis), axis))


@takes_lists
def cumsum(x: Any, axis: int | None = None) -> Any:
    """Return the cumulative sums along an axis; without one, of the flattened array."""
    if axis is None:
        return cumsum_axis(reshape(x, shape=(-1,)), axis=0)
    return cumsum_axis(x, axis=normalize_axes(axis, x.ndim, "cumsum")[0])


@takes_lists
def cumprod(x: Any, axis: int | None = None) -> Any:
    """Return the cumulative products along an axis; without one, of the flattened array.

    Pass k multiplies each element by the one 2^k places before it (Hillis and Steele 1986). This needs no division, so
    derivatives of every order exist even if factors are zero.
    """
    x, axis = (ravel(x), 0) if axis is None else (x, one_axis(axis, x.ndim, "cumprod"))
    x, step = _widest(x), 1
    while step < x.shape[axis]:
        products = x[along(axis, step, None)] * x[along(axis, 0, -step)]
        x, step = concatenate([x[along(axis, 0, step)], products], axis), 2 * step
    return x


@takes_lists
def diff(x: Any, n: int = 1, axis: int = -1, *, prepend: Any = None, append: Any = None) -> Any:
    """Return x[i + 1] - x[i] along an axis, `n` times; for booleans, whether the neighbors differ.

    Parameters
    ----------
    x : Tensor or array
        At least one axis.
    n : int
        How often to take differences; 0 returns x.
    axis : int
        The axis.
    prepend, append : Tensor, array or number
        Values before and after x along the axis; a number stands for an array of length 1 there.

    Raises
    ------
    OptionError
        There is no such axis, or n is negative.
    """
    axis = one_axis(axis, x.ndim, "diff")
    if n < 0:
        raise OptionError(f"diff: expected n of at least 0, got {n}")
    if n == 0:
        return x
    thin = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    given: list[Any] = [v for v in (prepend, x, append) if v is not None]
    ends: list[Any] = [v if isinstance(v, Box) else beside(v, unbox(x), who="diff: ") for v in given]
    x = concatenate([v if v.ndim else broadcast_to(v, shape=thin) for v in ends], axis)
    for _ in range(n):
        later, earlier = x[along(axis, 1, None)], x[along(axis, 0, -1)]
        x = not_equal(later, earlier) if x.dtype.kind == "b" else later - earlier
    return x


@primitive
def argsort_axis(xp: Any, x: Any, *, axis: int) -> Any:
    """Return the positions that sort x along an axis; the sort is stable."""
    return xp.argsort(x, axis=axis, kind="stable")


@primitive
def argmax_axis(xp: Any, x: Any, *, axis: int | None) -> Any:
    """Return the position of the first largest element."""
    return xp.argmax(x, axis=axis)


@primitive
def argmin_axis(xp: Any, x: Any, *, axis: int | None) -> Any:
    """Return the position of the first smallest element."""
    return xp.argmin(x, axis=axis)


@takes_lists
def argsort(x: Any, axis: int | None = -1) -> Any:
    """Return the positions that sort x along an axis; the sort is stable. None sorts the flattened x."""
    if axis is None:
        return argsort(reshape(x, shape=(-1,)))
    return argsort_axis(x, axis=normalize_axes(axis, x.ndim, "argsort")[0])


@takes_lists
def argmax(x: Any, axis: int | None = None) -> Any:
    """Return the position of the first largest element along an axis or in the flattened x; NaN counts as largest."""
    axes = _not_empty("argmax", x, axis)
    return argmax_axis(x, axis=None if axis is None else axes[0])


@takes_lists
def argmin(x: Any, axis: int | None = None) -> Any:
    """Return the position of the first smallest element along an axis or in the flattened x; NaN counts as smallest."""
    axes = _not_empty("argmin", x, axis)
    return argmin_axis(x, axis=None if axis is None else axes[0])


@takes_lists
def sort(x: Any, axis: int | None = -1) -> Any:
    """Return x sorted along an axis, or flattened and sorted; the gradient returns to each element's old position."""
    if axis is None:
        return sort(reshape(x, shape=(-1,)))
    return take_along_axis(x, argsort(x, axis), axis)


@in_floats
def median(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Any:
    """Return the median over the given axes: the middle element, or the mean of the two middle ones.

    The result is NaN if an element is NaN or there is none. The gradient goes to the middle elements; among equal
    elements, to those that a stable sort moves there.
    """
    axes = normalize_axes(axis, x.ndim, "median")
    rows = sort(_as_rows(x, axes))
    n = rows.shape[-1]
    middle = rows[..., (n - 1) // 2 : n // 2 + 1]
    out = mean(middle, -1)
    if n:
        out = where(not_equal(rows[..., -1], rows[..., -1]), rows[..., -1], out)  # NaN, which is sorted last
    return reshape(out, shape=kept_shape(x.shape, axes)) if keepdims else out


@primitive
def all_axes(xp: Any, x: Any, *, axes: tuple[int, ...], keepdims: bool = False) -> Any:
    """Return whether all elements over some axes are true."""
    return xp.all(x, axis=axes, keepdims=keepdims)


@primitive
def any_axes(xp: Any, x: Any, *, axes: tuple[int, ...], keepdims: bool = False) -> Any:
    """Return whether any element over some axes is true."""
    return xp.any(x, axis=axes, keepdims=keepdims)


@takes_lists
def all(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Any:  # NumPy's name
    """Return whether all elements over the given axes are true or nonzero; by default over all axes."""
    return all_axes(x, axes=normalize_axes(axis, x.ndim, "all"), keepdims=keepdims)


@takes_lists
def any(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Any:  # NumPy's name
    """Return whether any element over the given axes is true or nonzero; by default over all axes."""
    return any_axes(x, axes=normalize_axes(axis, x.ndim, "any"), keepdims=keepdims)
