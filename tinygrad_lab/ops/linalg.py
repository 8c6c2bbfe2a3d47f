"""Linear algebra: inverses, determinants, decompositions and norms of matrices, or of stacks in the last two axes.

Derivatives do not exist where a result is not smooth, and are infinite there: eigenvectors at equal eigenvalues,
singular vectors at equal singular values or at 0. Results that do not depend on these vectors keep finite gradients.
A singular matrix raises `MatrixError` on the CPU; on a GPU, CuPy's result is infinite or NaN.

References
----------
M. B. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation", 2008.
M. Seeger, A. Hetzel, Z. Dai, E. Meissner and N. D. Lawrence, "Auto-differentiating linear algebra", 2017.
"""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any, Literal, NamedTuple

from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.autograd.settings import SETTINGS
from tinygrad_lab.autograd.tape import Box, unbox
from tinygrad_lab.backend import beside, namespace
from tinygrad_lab.errors import GradientError, OptionError, ShapeError
from tinygrad_lab.ops import reductions
from tinygrad_lab.ops.arithmetic import absolute, bitwise_and, equal, not_equal, where
from tinygrad_lab.ops.diagonals import lower_triangle, on_diagonal
from tinygrad_lab.ops.linear import matmul_matrices
from tinygrad_lab.ops.operands import takes_lists
from tinygrad_lab.ops.shaping import (
    Axes,
    astype,
    concatenate,
    expand_dims,
    moveaxis,
    normalize_axes,
    ravel,
    reshape,
    squeeze,
    sum_to,
    swapaxes,
)
from tinygrad_lab.ops.widths import expect_real, in_floats

__all__ = [
    "cholesky",
    "det",
    "eigh",
    "eigvalsh",
    "inv",
    "matrix_power",
    "norm",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
]


def _transposed(x: Any) -> Any:
    return swapaxes(x, -1, -2)


def _product(*factors: Any) -> Any:
    """Return the product of stacks of matrices, from left to right."""
    out, *rest = factors
    for factor in rest:
        out = matmul_matrices(out, factor)
    return out


def _quotient(x: Any, y: Any) -> Any:
    """Return x / y, but 0 where both are 0."""
    return x / where(bitwise_and(equal(x, 0.0), equal(y, 0.0)), 1.0, y)


def _symmetric(x: Any) -> Any:
    """Return the symmetric matrices with the lower triangles of x."""
    return lower_triangle(x, k=0) + _transposed(lower_triangle(x, k=-1))


def _expect_square(x: Any, who: str) -> None:
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"{who}: expected square matrices (..., n, n), got shape {tuple(x.shape)}")


def _expect_matrices(x: Any, who: str) -> None:
    if x.ndim < 2:
        raise ShapeError(f"{who}: expected matrices (..., m, n), got shape {tuple(x.shape)}")


# --------------------------------------------------------------------------------------------- inverse and determinants


@primitive
def inv_matrices(xp: Any, x: Any) -> Any:
    """Return the inverses of matrices."""
    return xp.linalg.inv(x)


inv_matrices.defvjp(x=lambda g, out: -_product(_transposed(out), g, _transposed(out)))


@in_floats
def inv(x: Any) -> Any:
    """Return the inverse: d(X^-1) = -X^-1 dX X^-1.

    Raises
    ------
    MatrixError
        A matrix is singular.
    ShapeError
        The matrices are not square.
    """
    _expect_square(x, "inv")
    return inv_matrices(x)


@primitive
def solve_matrices(xp: Any, a: Any, b: Any) -> Any:
    """Return the solutions X of A X = B; the leading axes broadcast."""
    return xp.linalg.solve(a, b)


def _solve_rule(g: Any, a: Any, b_like: Any, out: Any, wanted: tuple[bool, bool]) -> tuple[Any, Any]:
    by_b = solve_matrices(_transposed(a), g)
    by_a = sum_to(-_product(by_b, _transposed(out)), a) if wanted[0] else None
    return by_a, sum_to(by_b, b_like) if wanted[1] else None


solve_matrices.defvjp("a", "b", _solve_rule)


@in_floats
def solve(a: Any, b: Any) -> Any:
    """Return the solution x of a x = b; b is a vector if it has one axis, and otherwise holds matrices.

    Raises
    ------
    MatrixError
        A matrix is singular.
    ShapeError
        The matrices are not square, or b does not have as many rows.
    """
    _expect_square(a, "solve")
    given: Any = b if isinstance(b, Box) else beside(b, unbox(a), who="solve: ")
    right = expand_dims(given, -1) if given.ndim == 1 else given
    if given.ndim == 0 or right.shape[-2] != a.shape[-1]:
        shapes = f"{tuple(a.shape)} and {tuple(given.shape)}"
        raise ShapeError(f"solve: expected b with {a.shape[-1]} rows, got shapes {shapes}")
    out = solve_matrices(a, right)
    return squeeze(out, -1) if given.ndim == 1 else out


@primitive
def det_matrices(xp: Any, x: Any) -> Any:
    """Return the determinants of matrices."""
    return xp.linalg.det(x)


@primitive
def cofactor_matrices(xp: Any, x: Any) -> Any:
    """Return det(X) X^-T, which is finite for singular matrices too: the derivative of the determinant.

    With X = U S V^T it is det(U) det(V) U C V^T, where C has the products of all other singular values. It is NaN for
    matrices that are not finite, for which the decomposition would fail.
    """
    finite = xp.isfinite(x).all(axis=(-2, -1))[..., None, None]
    u, s, vh = xp.linalg.svd(xp.where(finite, x, xp.zeros((), x.dtype)))
    others = xp.where(xp.eye(s.shape[-1], dtype=bool), xp.ones((), s.dtype), s[..., None, :])  # (..., n, n)
    signs = xp.linalg.det(u) * xp.linalg.det(vh)
    found = xp.matmul(xp.conj(u) * (signs[..., None] * xp.prod(others, axis=-1))[..., None, :], xp.conj(vh))
    return xp.where(finite, found, xp.full((), math.nan, x.dtype))


def _cofactor_rule(g: Any, x: Any, out: Any) -> Any:
    along = reductions.sum_axes(g * out, axes=(x.ndim - 2, x.ndim - 1), keepdims=True)
    return (along * out - _product(out, _transposed(g), out)) / expand_dims(det_matrices(x), (-2, -1))


det_matrices.defvjp(x=lambda g, x: expand_dims(g, (-2, -1)) * cofactor_matrices(x))
cofactor_matrices.defvjp(x=_cofactor_rule)


@in_floats
def det(x: Any) -> Any:
    """Return the determinant: d det(X) = <det(X) X^-T, dX>.

    The first derivative, the matrix of cofactors, also exists for singular matrices; the second is not computed there
    (it is infinite or NaN).

    Raises
    ------
    ShapeError
        The matrices are not square.
    """
    _expect_square(x, "det")
    return det_matrices(x)


class SlogdetResult(NamedTuple):
    """The sign and the logarithm of the absolute value of a determinant."""

    sign: Any
    logabsdet: Any


@primitive(outputs=("sign", "logabsdet"))
def slogdet_matrices(xp: Any, x: Any) -> Any:
    """Return the signs of determinants and the logarithms of their absolute values."""
    return tuple(xp.linalg.slogdet(x))


slogdet_matrices.defvjp(x=lambda g, x: expand_dims(g[1], (-2, -1)) * _transposed(inv_matrices(x)))


@in_floats
def slogdet(x: Any) -> SlogdetResult:
    """Return the determinant's sign and the logarithm of its absolute value: d log|det X| = <X^-T, dX>.

    A singular matrix has the sign 0 and the logarithm -inf, which has no derivative.

    Raises
    ------
    ShapeError
        The matrices are not square.
    """
    _expect_square(x, "slogdet")
    return SlogdetResult(*slogdet_matrices(x))


# ------------------------------------------------------------------------------------------------------- decompositions


@primitive
def cholesky_matrices(xp: Any, x: Any) -> Any:
    """Return the lower triangular L with L L^T = X for symmetric positive definite matrices."""
    return xp.linalg.cholesky(x)


def _cholesky_rule(g: Any, out: Any) -> Any:
    """Return sym(L^-T Phi(L^T G) L^-1), where Phi keeps the lower triangle and halves the diagonal (Murray 2016)."""
    p = _product(_transposed(out), g)
    phi = 0.5 * (lower_triangle(p, k=0) + lower_triangle(p, k=-1))
    upper = _transposed(out)
    s = solve_matrices(upper, _transposed(solve_matrices(upper, phi)))
    return 0.5 * (s + _transposed(s))


cholesky_matrices.defvjp(x=_cholesky_rule)


@in_floats
def cholesky(x: Any, *, upper: bool = False) -> Any:
    """Return the triangular factor of a symmetric positive definite matrix: L with L L^T = X, or U with U^T U = X.

    Only one triangle of x is read, the lower one for L, so the gradient is in that triangle.

    Raises
    ------
    MatrixError
        A matrix is not positive definite.
    ShapeError
        The matrices are not square.

    References
    ----------
    I. Murray, "Differentiation of the Cholesky decomposition", 2016.
    """
    _expect_square(x, "cholesky")
    expect_real(x, "cholesky")
    factor = cholesky_matrices(_symmetric(_transposed(x) if upper else x))
    return _transposed(factor) if upper else factor


class EighResult(NamedTuple):
    """Eigenvalues, from the smallest to the largest, and their eigenvectors in columns."""

    eigenvalues: Any
    eigenvectors: Any


@primitive(outputs=("w", "v"))
def eigh_matrices(xp: Any, x: Any, *, uplo: str) -> Any:
    """Return the eigenvalues and eigenvectors of symmetric matrices."""
    return tuple(xp.linalg.eigh(x, UPLO=uplo))


def _eigh_rule(g: Any, w: Any, v: Any) -> Any:
    """Return V (diag(g_w) + F * (V^T g_V)) V^T, where F[i, j] = 1 / (w[j] - w[i]) for i != j (Giles 2008)."""
    turned = _product(_transposed(v), g[1])
    gaps = expand_dims(w, -2) - expand_dims(w, -1)
    rotation = _quotient(0.5 * (turned - _transposed(turned)), gaps)
    return _product(v, on_diagonal(g[0], offset=0, size=gaps.shape[-2:]) + rotation, _transposed(v))


eigh_matrices.defvjp(x=_eigh_rule)


@in_floats
def eigh(x: Any, UPLO: Literal["L", "U"] = "L") -> EighResult:  # NumPy's name
    """Return the eigenvalues of a symmetric matrix, in ascending order, and its eigenvectors in columns.

    Only one triangle of x is read, the lower one unless ``UPLO="U"``, so the gradient is in that triangle. The sign of
    an eigenvector is arbitrary. Where eigenvalues are equal, gradients through eigenvectors are infinite or NaN, and
    those through eigenvalues alone are finite.

    Raises
    ------
    OptionError
        UPLO is neither "L" nor "U".
    ShapeError
        The matrices are not square.
    """
    _expect_square(x, "eigh")
    expect_real(x, "eigh")
    if UPLO not in ("L", "U"):
        raise OptionError(f"eigh: expected UPLO 'L' or 'U', got {UPLO!r}")
    return EighResult(*eigh_matrices(_symmetric(x if UPLO == "L" else _transposed(x)), uplo=UPLO))


def eigvalsh(x: Any, UPLO: Literal["L", "U"] = "L") -> Any:  # NumPy's name
    """Return the eigenvalues of a symmetric matrix in ascending order; see `eigh`."""
    return eigh(x, UPLO).eigenvalues


class SVDResult(NamedTuple):
    """The factors of x = U diag(S) Vh; the singular values S descend."""

    U: Any
    S: Any
    Vh: Any


@primitive(outputs=("u", "s", "vh"))
def svd_matrices(xp: Any, x: Any) -> Any:
    """Return the thin singular value decompositions of matrices."""
    return tuple(xp.linalg.svd(x, full_matrices=False))


@primitive(outputs=("u", "s", "vh"))
def svd_complete(xp: Any, x: Any) -> Any:
    """Return the singular value decompositions with square factors, which have no derivative."""
    return tuple(xp.linalg.svd(x))


def _svd_rule(g: Any, u: Any, s: Any, vh: Any) -> Any:
    """Return the gradient as in J. Townsend, "Differentiating the singular value decomposition", 2016."""
    g_u, g_s, g_vh = g
    rows, columns = expand_dims(s, -1), expand_dims(s, -2)
    gaps = (columns - rows) * (columns + rows)
    left, right = _product(_transposed(u), g_u), _product(vh, _transposed(g_vh))
    core = _quotient(left - _transposed(left), gaps) * columns + rows * _quotient(right - _transposed(right), gaps)
    gradient = _product(u, core + on_diagonal(g_s, offset=0, size=core.shape[-2:]), vh)
    if u.shape[-2] > s.shape[-1]:  # the part of g_u outside the span of u
        gradient = gradient + _product(_quotient(g_u - _product(u, left), columns), vh)
    if vh.shape[-1] > s.shape[-1]:
        gradient = gradient + _product(u, _quotient(g_vh - _product(_transposed(right), vh), rows))
    return gradient


svd_matrices.defvjp(x=_svd_rule)


def _expect_constant(x: Any, who: str, option: str) -> None:
    if isinstance(x, Box) and x.node is not None and SETTINGS.get().recording:
        raise GradientError(
            f"{who}: expected {option} for a tracked matrix of shape {x.node.shape}, because the further vectors are "
            "not unique and have no derivative"
        )


@in_floats
def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """Return the singular value decomposition, x = U diag(S) Vh, or with ``compute_uv=False`` only S.

    The signs of singular vectors are arbitrary. Where singular values are equal or 0, gradients through singular
    vectors are infinite or NaN, and those through singular values alone are finite.

    Parameters
    ----------
    x : Tensor or array
        (..., m, n)
    full_matrices : bool
        Whether U is (..., m, m) and Vh (..., n, n). If not, or if m is n, they are (..., m, k) and (..., k, n) for the
        smaller k of m and n. Only these have a derivative.
    compute_uv : bool
        Whether to return U and Vh too.

    Raises
    ------
    GradientError
        x is tracked and not square, and full_matrices is set.
    ShapeError
        x has fewer than two axes.
    """
    _expect_matrices(x, "svd")
    expect_real(x, "svd")
    if not (compute_uv and full_matrices) or x.shape[-1] == x.shape[-2]:
        found = SVDResult(*svd_matrices(x))
        return found if compute_uv else found.S
    _expect_constant(x, "svd", "full_matrices=False")
    return SVDResult(*svd_complete(x))


def svdvals(x: Any) -> Any:
    """Return the singular values in descending order; see `svd`."""
    return svd(x, compute_uv=False)


class QRResult(NamedTuple):
    """The factors of x = Q R."""

    Q: Any
    R: Any


@primitive(outputs=("q", "r"))
def qr_matrices(xp: Any, x: Any) -> Any:
    """Return the reduced QR decompositions of matrices with at least as many rows as columns."""
    return tuple(xp.linalg.qr(x))


@primitive(outputs=("q", "r"))
def qr_complete(xp: Any, x: Any) -> Any:
    """Return the QR decompositions with square Q, which have no derivative."""
    return tuple(xp.linalg.qr(x, mode="complete"))


def _qr_rule(g: Any, q: Any, r: Any) -> Any:
    """Return (g_Q + Q M) R^-T; M is symmetric, with the lower triangle of R g_R^T - g_Q^T Q (Seeger et al. 2017)."""
    g_q, g_r = g
    m = _product(r, _transposed(g_r)) - _product(_transposed(g_q), q)
    return _transposed(solve_matrices(r, _transposed(g_q + _product(q, _symmetric(m)))))


qr_matrices.defvjp(x=_qr_rule)


@in_floats
def qr(x: Any, mode: Literal["reduced", "complete", "r"] = "reduced") -> Any:
    """Return the QR decomposition, x = Q R, with orthonormal columns in Q and an upper triangular R.

    If x has more columns than rows, its first columns determine Q, and R = Q^T x.

    Parameters
    ----------
    x : Tensor or array
        (..., m, n), of full rank if it is differentiated.
    mode : {"reduced", "complete", "r"}
        Q is (..., m, k) and R (..., k, n) for the smaller k of m and n; or Q is (..., m, m) and R (..., m, n); or only
        the reduced R is returned.

    Raises
    ------
    GradientError
        x is tracked and has more rows than columns, and the mode is "complete".
    OptionError
        The mode is unknown.
    ShapeError
        x has fewer than two axes.

    References
    ----------
    S. F. Walter and L. Lehmann, "Algorithmic differentiation of linear algebra functions with application in optimum
    experimental design", 2010.
    """
    _expect_matrices(x, "qr")
    expect_real(x, "qr")
    if mode not in ("reduced", "complete", "r"):
        raise OptionError(f"qr: expected mode 'reduced', 'complete' or 'r', got {mode!r}")
    m, n = x.shape[-2:]
    if mode == "complete" and m > n:
        _expect_constant(x, "qr", "mode='reduced'")
        return QRResult(*qr_complete(x))
    q, r = qr_matrices(x[..., :m])
    if m < n:
        r = concatenate([r, _product(_transposed(q), x[..., m:])], -1)
    return r if mode == "r" else QRResult(q, r)


# ---------------------------------------------------------------------------------------------------------------- norms


@in_floats
def norm(x: Any, ord: float | str | None = None, axis: Axes = None, keepdims: bool = False) -> Any:  # NumPy's names
    """Return a norm of vectors along one axis, or of matrices in two; by default, the Euclidean norm of all elements.

    Parameters
    ----------
    x : Tensor or array
        Any shape; with an `ord`, vectors or matrices unless `axis` names their axes.
    ord : number, "fro" or "nuc"
        For vectors: p for sum(abs(x)^p)^(1/p), inf or -inf for the largest or smallest absolute value, 0 for the number
        of elements that are not 0.
        For matrices: "fro", the Euclidean norm of the elements; "nuc", 2 and -2, the sum, the largest and the smallest
        of the singular values; 1 and -1 (inf and -inf), the largest and the smallest sum of absolute values of a column
        (a row).
    axis : int, pair of ints or None
        The axis of the vectors, or those of the matrices.
    keepdims : bool
        Whether the axes are kept with length 1.

    Notes
    -----
    Where the norm is 0, the gradient is taken as 0, and for p < 1 also the entry of an element that is 0; ties of
    maxima and minima share it.

    Raises
    ------
    OptionError
        There is no such norm for that many axes.
    """
    expect_real(x, "linalg.norm")
    axes = normalize_axes(axis, x.ndim, "linalg.norm")
    if ord is None and axis is None:
        out = reductions.norm(ravel(x))
        return reshape(out, shape=(1,) * x.ndim) if keepdims else out
    if len(axes) == 1:
        return _vector_norm(x, 2 if ord is None else ord, axes[0], keepdims)
    if len(axes) == 2:
        return _matrix_norm(x, "fro" if ord is None else ord, axes, keepdims)
    raise OptionError(f"linalg.norm: expected one axis for vectors or two for matrices, got axes {axes}")


def _vector_norm(x: Any, p: Any, axis: int, keepdims: bool) -> Any:
    if isinstance(p, str):
        raise OptionError(f"linalg.norm: expected a number as the ord of a vector norm, got {p!r}")
    if p == 2:
        return reductions.norm(x, axis, keepdims=keepdims)
    if p == 0:
        return reductions.sum(astype(not_equal(x, 0.0), dtype=x.dtype), axis, keepdims=keepdims)
    size = absolute(x)
    if math.isinf(p):
        return (reductions.max if p > 0 else reductions.min)(size, axis, keepdims=keepdims)
    if p == 1:
        return reductions.sum(size, axis, keepdims=keepdims)
    if p < 1:  # the slope of abs(x)^p is infinite at 0
        absent = equal(size, 0.0)
        powers = where(absent, 0.0 if p > 0 else math.inf, where(absent, 1.0, size) ** p)
    else:
        powers = size**p
    total = reductions.sum(powers, axis, keepdims=keepdims)
    zero = equal(total, 0.0)
    return where(zero, 0.0, where(zero, 1.0, total) ** (1.0 / p))


def _matrix_norm(x: Any, kind: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    row, column = axes
    if kind == "fro":
        return reductions.norm(x, axes, keepdims=keepdims)
    singular = {"nuc": reductions.sum, 2: reductions.max, -2: reductions.min}
    if kind in singular:
        out = singular[kind](svdvals(moveaxis(x, axes, (-2, -1))), -1)
        return expand_dims(out, axes) if keepdims else out
    if kind not in (1, -1, math.inf, -math.inf):
        known = "'fro', 'nuc', 1, -1, 2, -2, inf or -inf"
        raise OptionError(f"linalg.norm: expected {known} as the ord of a matrix norm, got {kind!r}")
    summed, chosen = (row, column) if abs(kind) == 1 else (column, row)
    sums = reductions.sum(absolute(x), summed, keepdims=True)
    out = (reductions.max if kind > 0 else reductions.min)(sums, chosen, keepdims=True)
    return out if keepdims else squeeze(out, axes)


@takes_lists
def matrix_power(x: Any, n: int) -> Any:
    """Return the product of n copies of a square matrix, or of -n copies of its inverse if n is negative.

    Raises
    ------
    MatrixError
        n is negative and a matrix is singular.
    OptionError
        n is not an integer.
    ShapeError
        The matrices are not square.
    """
    _expect_square(x, "matrix_power")
    if not isinstance(n, Integral):
        raise OptionError(f"matrix_power: expected an integer n, got {n!r}")
    base, left = (inv(x), -n) if n < 0 else (x, n)
    out = None
    while left:
        if left % 2:
            out = base if out is None else matmul_matrices(out, base)
        base, left = matmul_matrices(base, base) if left > 1 else base, left // 2
    if out is None:
        raw = unbox(x)
        xp = namespace(raw)
        return where(xp.ones(raw.shape, bool), xp.eye(raw.shape[-1], dtype=raw.dtype), x)  # a constant
    return out
