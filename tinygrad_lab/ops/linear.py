"""Products of matrices and tensors: matmul, tensordot, einsum."""

from __future__ import annotations

from typing import Any

from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.errors import OptionError, ShapeError
from tinygrad_lab.ops.shaping import broadcast_to, expand_dims, reshape, squeeze, sum_to, swapaxes, transpose


@primitive
def matmul_matrices(xp: Any, x: Any, y: Any) -> Any:
    """Return the products of stacks of matrices, (..., n, k) by (..., k, m), the stacks broadcast."""
    return xp.matmul(x, y)


matmul_matrices.defvjp(
    x=lambda g, x_like, y: sum_to(matmul_matrices(g, swapaxes(y, -1, -2)), x_like),
    y=lambda g, x, y_like: sum_to(matmul_matrices(swapaxes(x, -1, -2), g), y_like),
)


def matmul(x: Any, y: Any) -> Any:
    """Return x @ y: a matrix product for matrices and stacks of them; a vector counts as a row or a column.

    Raises
    ------
    ShapeError
        An operand is 0-dimensional, or the inner lengths differ.
    """
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
    """Return the sum of products over the last axes of x and the first of y, or over two lists of axes.

    Raises
    ------
    ShapeError
        The lengths of the axes to sum over differ.
    """
    if isinstance(axes, int):
        axes = (range(x.ndim - axes, x.ndim), range(axes))
    ax, ay = ([a] if isinstance(a, int) else list(a) for a in axes)
    ax, ay = [a % x.ndim for a in ax], [a % y.ndim for a in ay]
    if [x.shape[a] for a in ax] != [y.shape[a] for a in ay]:
        raise ShapeError(f"tensordot: expected axes {ax} and {ay} of equal lengths, got shapes {x.shape} and {y.shape}")
    free_x, free_y = ([i for i in range(v.ndim) if i not in a] for v, a in ((x, ax), (y, ay)))
    shape = tuple(x.shape[i] for i in free_x) + tuple(y.shape[i] for i in free_y)
    inner = 1
    for a in ax:
        inner *= x.shape[a]
    rows = transpose(x, axes=(*free_x, *ax))
    columns = transpose(y, axes=(*ay, *free_y))
    left = _size(x, free_x)
    right = _size(y, free_y)
    product = matmul_matrices(reshape(rows, shape=(left, inner)), reshape(columns, shape=(inner, right)))
    return reshape(product, shape=shape)  # (free_x, free_y) -> the free axes apart again


def _size(x: Any, axes: list[int]) -> int:
    size = 1
    for a in axes:
        size *= x.shape[a]
    return size


@primitive
def einsum_operands(xp: Any, *operands: Any, terms: tuple[str, ...], out: str) -> Any:
    """Return the sum of products that index letters describe."""
    return xp.einsum(",".join(terms) + "->" + out, *operands)


def _einsum_rule(g: Any, operands: list[Any], terms: tuple[str, ...], out: str, wanted: tuple[bool, ...]) -> list[Any]:
    """The gradient of one operand is an einsum of the cotangent and the other operands."""
    gradients: list[Any] = []
    for i, term in enumerate(terms):
        if not wanted[i]:
            gradients.append(None)
            continue
        others = [(t, o) for j, (t, o) in enumerate(zip(terms, operands, strict=True)) if j != i]
        known = set(out).union(*(t for t, _ in others))
        kept = "".join(letter for letter in term if letter in known)
        g_i = einsum_operands(g, *(o for _, o in others), terms=(out, *(t for t, _ in others)), out=kept)
        shape = tuple(n if letter in known else 1 for letter, n in zip(term, operands[i].shape, strict=True))
        gradients.append(broadcast_to(reshape(g_i, shape=shape), shape=operands[i].shape))
    return gradients


einsum_operands.defvjp(operands=_einsum_rule)


def einsum(subscripts: str, *operands: Any) -> Any:
    """Return the sum of products that Einstein's notation describes, as ``numpy.einsum``.

    A letter twice in one operand (a diagonal) is not accepted.

    Raises
    ------
    OptionError
        The subscripts do not fit the operands, or name a diagonal.
    """
    left, arrow, out = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise OptionError(f"einsum {subscripts!r}: expected {len(terms)} operands, got {len(operands)}")
    terms, out = _expand_ellipses(terms, out if arrow else None, operands)
    if any(len(set(t)) != len(t) for t in terms):
        raise OptionError(f"einsum {subscripts!r}: expected each letter once in an operand; no diagonals")
    lengths: dict[str, int] = {}
    for term, operand in zip(terms, operands, strict=True):
        for letter, n in zip(term, operand.shape, strict=True):
            if lengths.setdefault(letter, n) != n:
                both = f"{lengths[letter]} and {n}"
                raise ShapeError(f"einsum {subscripts!r}: expected one length for {letter!r}, got {both}")
    return einsum_operands(*operands, terms=tuple(terms), out=out)


def _expand_ellipses(terms: list[str], out: str | None, operands: tuple[Any, ...]) -> tuple[list[str], str]:
    """Give the axes behind ``...`` capital letters that the subscripts leave free, and infer a missing output."""
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
