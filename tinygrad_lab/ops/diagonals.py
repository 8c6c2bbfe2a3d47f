"""Diagonals and triangles of matrices.

Adjoint pairs: diagonal_of / on_diagonal; lower_triangle and upper_triangle are each their own adjoint.
"""

from __future__ import annotations

from typing import Any

from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.errors import OptionError, ShapeError
from tinygrad_lab.ops.operands import takes_lists
from tinygrad_lab.ops.reductions import sum_axes
from tinygrad_lab.ops.shaping import broadcast_to, moveaxis, one_axis


@primitive
def diagonal_of(xp: Any, x: Any, *, offset: int) -> Any:
    """Return the elements x[..., i, i + offset] (the adjoint of `on_diagonal`)."""
    return xp.diagonal(x, offset, -2, -1)


@primitive
def on_diagonal(xp: Any, x: Any, *, offset: int, size: tuple[int, int]) -> Any:
    """Return matrices of the given size, with x on a diagonal and zeros elsewhere (the adjoint of `diagonal_of`)."""
    out = xp.zeros((*x.shape[:-1], *size), x.dtype)
    rows = xp.arange(x.shape[-1]) + max(-offset, 0)
    out[..., rows, rows + offset] = x
    return out


diagonal_of.defvjp(x=lambda g, x_like, offset: on_diagonal(g, offset=offset, size=x_like.shape[-2:]))
on_diagonal.defvjp(x=lambda g, offset: diagonal_of(g, offset=offset))


@primitive
def lower_triangle(xp: Any, x: Any, *, k: int) -> Any:
    """Return matrices with zeros above the diagonal number k."""
    return xp.tril(x, k)


@primitive
def upper_triangle(xp: Any, x: Any, *, k: int) -> Any:
    """Return matrices with zeros below the diagonal number k."""
    return xp.triu(x, k)


lower_triangle.defvjp(x=lambda g, k: lower_triangle(g, k=k))
upper_triangle.defvjp(x=lambda g, k: upper_triangle(g, k=k))


def _matrices(x: Any, who: str) -> Any:
    """Return x if it has at least two axes.

    A vector of length n becomes a matrix of n rows, each equal to it, as in NumPy's `tril` and `triu`.
    """
    if x.ndim == 0:
        raise ShapeError(f"{who}: expected matrices or a vector, got a 0-dimensional array")
    return broadcast_to(x, shape=(*x.shape, *x.shape)) if x.ndim == 1 else x


@takes_lists
def tril(x: Any, k: int = 0) -> Any:
    """Return the lower triangle of the matrices in the last two axes: zeros above the diagonal number k."""
    return lower_triangle(_matrices(x, "tril"), k=k)


@takes_lists
def triu(x: Any, k: int = 0) -> Any:
    """Return the upper triangle of the matrices in the last two axes: zeros below the diagonal number k."""
    return upper_triangle(_matrices(x, "triu"), k=k)


@takes_lists
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Return the diagonals of the matrices in `axis1` and `axis2`, as the last axis of the result.

    A positive `offset` takes a diagonal to the right of the main one, a negative one below it.

    Raises
    ------
    OptionError
        There are no such axes, or they are the same.
    ShapeError
        x has fewer than two axes.
    """
    return diagonal_of(_at_the_end(x, axis1, axis2, "diagonal"), offset=offset)


def _at_the_end(x: Any, axis1: int, axis2: int, who: str) -> Any:
    """Move the two axes of matrices to the end."""
    if x.ndim < 2:
        raise ShapeError(f"{who}: expected at least two axes, got shape {tuple(x.shape)}")
    axes = one_axis(axis1, x.ndim, who), one_axis(axis2, x.ndim, who)
    if axes[0] == axes[1]:
        raise OptionError(f"{who}: expected two different axes, got {axis1} and {axis2}")
    return moveaxis(x, axes, (-2, -1))


@takes_lists
def diag(x: Any, k: int = 0) -> Any:
    """Return the square matrix with a vector on its diagonal number k, or that diagonal of a matrix.

    Raises
    ------
    ShapeError
        x is neither a vector nor a matrix.
    """
    if x.ndim not in (1, 2):
        raise ShapeError(f"diag: expected a vector or a matrix, got shape {tuple(x.shape)}; use diagonal for stacks")
    n = x.shape[0] + abs(k)
    return diagonal_of(x, offset=k) if x.ndim == 2 else on_diagonal(x, offset=k, size=(n, n))


@takes_lists
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Return the sums of the diagonals of the matrices in two axes.

    Raises
    ------
    OptionError
        There are no such axes, or they are the same.
    ShapeError
        x has fewer than two axes.
    """
    found = diagonal_of(_at_the_end(x, axis1, axis2, "trace"), offset=offset)
    return sum_axes(found, axes=(found.ndim - 1,))
