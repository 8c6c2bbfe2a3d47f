"""Products of matrices and tensors: matmul, dot, inner, outer, kron, tensordot, einsum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import carries_gradient, namespace
from tinygrad_lab.errors import OptionError, ShapeError
from tinygrad_lab.ops.arithmetic import multiply
from tinygrad_lab.ops.indexing import getitem
from tinygrad_lab.ops.operands import as_operand
from tinygrad_lab.ops.shaping import (
    broadcast_to,
    expand_dims,
    normalize_axes,
    reshape,
    squeeze,
    sum_to,
    swapaxes,
    transpose,
)


@primitive
def matmul_matrices(xp: Any, x: Any, y: Any) -> Any:
    """Return the products of stacks of matrices, (..., n, k) by (..., k, m); the leading axes broadcast."""
    return xp.matmul(x, y)


matmul_matrices.defvjp(
    x=lambda g, x_like, y: sum_to(matmul_matrices(g, swapaxes(y, -1, -2)), x_like),
    y=lambda g, x, y_like: sum_to(matmul_matrices(swapaxes(x, -1, -2), g), y_like),
)


def _operands(x: Any, y: Any, who: str) -> tuple[Any, Any]:
    return as_operand(x, y, who=who), as_operand(y, x, who=who)


def matmul(x: Any, y: Any) -> Any:
    """Return x @ y, the matrix product of matrices or stacks of them; a vector is treated as a row or a column.

    Raises
    ------
    ShapeError
        An operand is 0-dimensional, or the inner lengths differ.
    """
    x, y = _operands(x, y, "matmul")
    if x.ndim == 0 or y.ndim == 0:
        raise ShapeError(f"matmul: expected vectors or matrices, got shapes {x.shape} and {y.shape}; use * for scalars")
    if x.shape[-1] != y.shape[-2 if y.ndim > 1 else 0]:
        raise ShapeError(f"matmul: expected equal inner lengths, got shapes {x.shape} and {y.shape}; transpose one?")
    a = expand_dims(x, 0) if x.ndim == 1 else x
    b = expand_dims(y, -1) if y.ndim == 1 else y
    out = matmul_matrices(a, b)
    dropped = tuple(axis for axis, v in ((-2, x), (-1, y)) if v.ndim == 1)
    return squeeze(out, dropped) if dropped else out


def tensordot(x: Any, y: Any, axes: int | tuple[Any, Any] = 2) -> Any:
    """Sum products over the last `axes` axes of x and the first `axes` axes of y, or over two lists of axes.

    Raises
    ------
    ShapeError
        The summed axes have different lengths.
    OptionError
        An operand does not have these axes.
    """
    x, y = _operands(x, y, "tensordot")
    if not isinstance(axes, Sequence):
        if not 0 <= axes <= min(x.ndim, y.ndim):
            raise OptionError(f"tensordot: expected 0 to {min(x.ndim, y.ndim)} axes, got {axes}")
        axes = (range(x.ndim - axes, x.ndim), range(axes))
    ax, ay = (normalize_axes(a, v.ndim, "tensordot") for a, v in zip(axes, (x, y), strict=True))
    if [x.shape[a] for a in ax] != [y.shape[a] for a in ay]:
        raise ShapeError(f"tensordot: expected axes {ax} and {ay} of equal lengths, got shapes {x.shape} and {y.shape}")
    free_x, free_y = ([i for i in range(v.ndim) if i not in a] for v, a in ((x, ax), (y, ay)))
    shape = tuple(x.shape[i] for i in free_x) + tuple(y.shape[i] for i in free_y)
    inner, left, right = (math.prod(v.shape[i] for i in some) for v, some in ((x, ax), (x, free_x), (y, free_y)))
    rows = reshape(transpose(x, axes=(*free_x, *ax)), shape=(left, inner))
    columns = reshape(transpose(y, axes=(*ay, *free_y)), shape=(inner, right))
    return reshape(matmul_matrices(rows, columns), shape=shape)  # (left, right) -> (free axes of x, free axes of y)


def dot(x: Any, y: Any) -> Any:
    """Return the sums of products over the last axis of x and the second-to-last axis of y (the only one of a vector).

    For vectors it is the inner product, for matrices the matrix product, and with a number the product.

    Raises
    ------
    ShapeError
        The summed axes have different lengths.
    """
    x, y = _operands(x, y, "dot")
    if x.ndim == 0 or y.ndim == 0:
        return multiply(x, y)
    axis = max(y.ndim - 2, 0)
    if x.shape[-1] != y.shape[axis]:
        raise ShapeError(f"dot: expected equal inner lengths, got shapes {x.shape} and {y.shape}; transpose one?")
    return tensordot(x, y, (-1, axis))


def inner(x: Any, y: Any) -> Any:
    """Return the sums of products over the last axes of x and y; with a number, the product.

    Raises
    ------
    ShapeError
        The last axes have different lengths.
    """
    x, y = _operands(x, y, "inner")
    if x.ndim == 0 or y.ndim == 0:
        return multiply(x, y)
    if x.shape[-1] != y.shape[-1]:
        raise ShapeError(f"inner: expected last axes of equal lengths, got shapes {x.shape} and {y.shape}")
    return tensordot(x, y, (-1, -1))


def outer(x: Any, y: Any) -> Any:
    """Return the products of each element of x, in rows, and each element of y, in columns; both are flattened."""
    x, y = _operands(x, y, "outer")
    return multiply(reshape(x, shape=(-1, 1)), reshape(y, shape=(1, -1)))


def kron(x: Any, y: Any) -> Any:
    """Return the Kronecker product: a block x[i, j] * y for each element of x, along all axes."""
    x, y = _operands(x, y, "kron")
    ndim = max(x.ndim, y.ndim)
    a, b = ((1,) * (ndim - v.ndim) + tuple(v.shape) for v in (x, y))
    blocks = reshape(x, shape=tuple(n for length in a for n in (length, 1)))  # (a0, 1, a1, 1, ...)
    inside = reshape(y, shape=tuple(n for length in b for n in (1, length)))  # (1, b0, 1, b1, ...)
    return reshape(multiply(blocks, inside), shape=tuple(m * n for m, n in zip(a, b, strict=True)))


@primitive
def einsum_operands(xp: Any, *operands: Any, terms: tuple[str, ...], result: str) -> Any:
    """Return the sum of products described by index letters."""
    return xp.einsum(",".join(terms) + "->" + result, *operands, optimize=len(operands) > 1)


def _einsum_rule(g: Any, operands: list[Any], terms: tuple[str, ...], result: str, wanted: tuple[bool, ...]) -> Any:
    """Return the gradients; each is an einsum of the cotangent and the other operands."""
    gradients: list[Any] = []
    for i, term in enumerate(terms):
        if not wanted[i]:
            gradients.append(None)
            continue
        others = [(t, o) for j, (t, o) in enumerate(zip(terms, operands, strict=True)) if j != i]
        known = set(result).union(*(t for t, _ in others))
        kept = "".join(letter for letter in term if letter in known)
        g_i = einsum_operands(g, *(o for _, o in others), terms=(result, *(t for t, _ in others)), result=kept)
        shape = tuple(n if letter in known else 1 for letter, n in zip(term, operands[i].shape, strict=True))
        gradients.append(broadcast_to(reshape(g_i, shape=shape), shape=operands[i].shape))
    return gradients


einsum_operands.defvjp(operands=_einsum_rule)


def einsum(subscripts: str, *operands: Any) -> Any:
    """Return the sum of products in Einstein notation, like ``numpy.einsum``.

    Raises
    ------
    OptionError
        The subscripts do not fit the operands.
    ShapeError
        Axes with the same letter have different lengths. Only the axes of ``...`` are broadcast.

    Examples
    --------
    >>> import numpy as np
    >>> einsum("ij,jk->ik", np.ones((2, 3)), np.ones((3, 4))).shape
    (2, 4)
    """
    like = next((o for o in operands if carries_gradient(unbox(o))), None)
    operands = tuple(as_operand(o, like, who="einsum") for o in operands)
    left, arrow, out = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise OptionError(f"einsum {subscripts!r}: expected {len(terms)} operands, got {len(operands)}")
    terms, out = _expand_ellipses(terms, out if arrow else None, operands)
    if len(set(out)) != len(out) or set(out) - set("".join(terms)):
        raise OptionError(f"einsum {subscripts!r}: expected different letters after the arrow, all from the operands")
    lengths: dict[str, int] = {}
    for term, operand in zip(terms, operands, strict=True):
        for letter, n in zip(term, operand.shape, strict=True):
            common = lengths.setdefault(letter, n)
            if common == 1 and letter not in subscripts:
                lengths[letter] = n
            elif n != common and (n != 1 or letter in subscripts):
                raise ShapeError(f"einsum {subscripts!r}: expected one length for {letter!r}, got {common} and {n}")
    simple = [_simplify(t, o, lengths) for t, o in zip(terms, operands, strict=True)]
    return einsum_operands(*(o for _, o in simple), terms=tuple(t for t, _ in simple), result=out)


def _expand_ellipses(terms: list[str], out: str | None, operands: tuple[Any, ...]) -> tuple[list[str], str]:
    """Replace ``...`` with unused capital letters and infer a missing output."""
    used = set("".join(terms) + (out or ""))
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in used]
    depth, expanded = 0, []
    for term, operand in zip(terms, operands, strict=True):
        dots = operand.ndim - len(term.replace("...", ""))
        if dots < 0 or (dots and "..." not in term):
            raise OptionError(f"einsum: expected a letter for each axis, got {term!r} for shape {operand.shape}")
        depth = max(depth, dots)
        expanded.append(term.replace("...", "".join(free[:dots][::-1])))
    letters = "".join(free[:depth][::-1])
    if out is None:
        joined = "".join(terms).replace(".", "")
        out = letters + "".join(sorted(c for c in set(joined) if joined.count(c) == 1))
    return expanded, out.replace("...", letters)


def _simplify(term: str, x: Any, lengths: dict[str, int]) -> tuple[str, Any]:
    """Drop the broadcast axes of x, and take the diagonal if a letter occurs twice."""
    repeated = tuple(i for i, letter in enumerate(term) if x.shape[i] != lengths[letter])
    x, term = squeeze(x, repeated), "".join(letter for i, letter in enumerate(term) if i not in repeated)
    letters = "".join(dict.fromkeys(term))
    if letters == term:
        return term, x
    xp = namespace(unbox(x))
    along = {c: xp.arange(lengths[c]).reshape([-1 if c == other else 1 for other in letters]) for c in letters}
    return letters, getitem(x, tuple(along[c] for c in term))
