"""Rows of the table: inverses, determinants, decompositions and norms of matrices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tests.ops.drawing import Draw, Trial, generator, operation, pytorch, shapes, values


def stack(draw: Draw) -> tuple[int, ...]:
    """Draw the leading axes of a stack of matrices."""
    return draw(st.sampled_from([(), (2,), (0,), (1, 2)]))  # type: ignore[no-any-return]  # draws are Any


def rotation(rng: np.random.Generator, lead: tuple[int, ...], n: int) -> np.ndarray:
    """Return random orthogonal matrices."""
    return np.linalg.qr(rng.normal(size=(*lead, n, n))).Q


def spread(draw: Draw, m: int, n: int) -> np.ndarray:
    """Draw matrices whose singular values differ by at least 0.5 and are at least 0.5."""
    rng, lead, k = generator(draw), stack(draw), min(m, n)
    s = 0.5 + np.arange(k)[::-1] * 0.7 + rng.uniform(0.0, 0.2, (*lead, k))
    return (rotation(rng, lead, m)[..., :k] * s[..., None, :]) @ rotation(rng, lead, n)[..., :k, :]


def symmetric(draw: Draw, low: float) -> np.ndarray:
    """Draw matrices whose lower triangles are those of symmetric matrices with eigenvalues from `low` up."""
    rng, lead, n = generator(draw), stack(draw), draw(st.integers(0, 3))
    q = rotation(rng, lead, n)
    w = low + np.arange(n) * 0.7 + rng.uniform(0.0, 0.2, (*lead, n))
    return (q * w[..., None, :]) @ np.swapaxes(q, -1, -2) + np.triu(rng.normal(size=(*lead, n, n)), 1)


def mirrored(x: Any, upper: bool) -> Any:
    """Return PyTorch's matrices with one triangle copied to the other."""
    return x.triu() + x.triu(1).mT if upper else x.tril() + x.tril(-1).mT


def square(name: str, torch: Callable[..., Any], *, complex_safe: bool = True) -> None:
    """Add a function of invertible matrices."""

    @operation(f"linalg.{name}", complex_safe=complex_safe)
    def trials(draw: Draw) -> Trial:
        n = draw(st.integers(0, 3))
        return Trial(getattr(tgl.linalg, name), [spread(draw, n, n)], getattr(np.linalg, name), torch)


square("inv", lambda x: x.inverse())
square("det", lambda x: x.det())
square("slogdet", lambda x: x.slogdet(), complex_safe=False)


@operation("linalg.matrix_power")
def _matrix_power(draw: Draw) -> Trial:
    x, power = spread(draw, 2, 2), draw(st.integers(-2, 5).filter(bool))
    return Trial(
        lambda x: tgl.linalg.matrix_power(x, power),
        [x],
        lambda x: np.linalg.matrix_power(x, power),
        lambda x: x.matrix_power(power),
    )


@operation("linalg.solve")
def _solve(draw: Draw) -> Trial:
    n = draw(st.integers(0, 3))
    a = spread(draw, n, n)
    b = values(draw, draw(st.sampled_from([(n,), (n, 2), (*a.shape[:-2], n, 1), (1, 1, n, 2)])))

    def torch(a: Any, b: Any) -> Any:
        return pytorch().linalg.solve(a, b[:, None])[..., 0] if b.ndim == 1 else pytorch().linalg.solve(a, b)

    return Trial(tgl.linalg.solve, [a, b], np.linalg.solve, torch)


@operation("linalg.cholesky", complex_safe=False)
def _cholesky(draw: Draw) -> Trial:
    x, upper = symmetric(draw, 0.5), draw(st.booleans())
    x = np.swapaxes(x, -1, -2) if upper else x
    return Trial(
        lambda x: tgl.linalg.cholesky(x, upper=upper),
        [x],
        lambda x: np.linalg.cholesky(x, upper=upper),
        lambda x: pytorch().linalg.cholesky(mirrored(x, upper), upper=upper),
    )


def projections(module: Any, columns: Any, rows: Any) -> Any:
    """Return the product of each column and the row of the same number, which does not depend on their signs."""
    return module.multiply(columns[..., :, None, :], module.swapaxes(rows, -1, -2)[..., None, :, :])


@operation("linalg.eigh", complex_safe=False)
def _eigh(draw: Draw) -> Trial:
    x, uplo = symmetric(draw, -1.0), draw(st.sampled_from(["L", "U"]))
    x = np.swapaxes(x, -1, -2) if uplo == "U" else x

    def trial(module: Any, found: Any) -> list[Any]:
        return [found[0], projections(module, found[1], module.swapaxes(found[1], -1, -2))]

    return Trial(
        lambda x: trial(tgl, tgl.linalg.eigh(x, UPLO=uplo)),
        [x],
        lambda x: trial(np, np.linalg.eigh(x, UPLO=uplo)),
        lambda x: trial(pytorch(), pytorch().linalg.eigh(mirrored(x, uplo == "U"))),
    )


@operation("linalg.eigvalsh", complex_safe=False)
def _eigvalsh(draw: Draw) -> Trial:
    return Trial(
        tgl.linalg.eigvalsh,
        [symmetric(draw, -1.0)],
        np.linalg.eigvalsh,
        lambda x: pytorch().linalg.eigvalsh(mirrored(x, False)),
    )


@operation("linalg.svd", complex_safe=False)
def _svd(draw: Draw) -> Trial:
    m, n = (draw(st.integers(0, 3)) for _ in range(2))
    options = {"full_matrices": False} if m != n or draw(st.booleans()) else {}

    def trial(module: Any, found: Any) -> list[Any]:
        return [found[1], projections(module, found[0], found[2])]

    return Trial(
        lambda x: trial(tgl, tgl.linalg.svd(x, **options)),
        [spread(draw, m, n)],
        lambda x: trial(np, np.linalg.svd(x, **options)),
        lambda x: trial(pytorch(), pytorch().linalg.svd(x, **options)),
    )


@operation("linalg.svdvals", complex_safe=False)
def _svdvals(draw: Draw) -> Trial:
    x = spread(draw, 2, draw(st.integers(0, 3)))
    return Trial(tgl.linalg.svdvals, [x], np.linalg.svdvals, lambda x: pytorch().linalg.svdvals(x))


@operation("linalg.qr", complex_safe=False)
def _qr(draw: Draw) -> Trial:
    m, n = (draw(st.integers(0, 3)) for _ in range(2))
    mode = draw(st.sampled_from(["reduced", "r", *(["complete"] if m <= n else [])]))
    return Trial(
        lambda x: tgl.linalg.qr(x, mode),
        [spread(draw, m, n)],
        lambda x: np.linalg.qr(x, mode),
        lambda x: pytorch().linalg.qr(x)[1] if mode == "r" else pytorch().linalg.qr(x),
    )


def unequal(draw: Draw, shape: tuple[int, ...]) -> np.ndarray:
    """Draw numbers whose absolute values differ from each other and from 0."""
    rng = generator(draw)
    sizes = rng.permutation(np.linspace(0.3, 3.0, math.prod(shape))).reshape(shape)
    return np.asarray(sizes * rng.choice((-1.0, 1.0), shape))


@operation("linalg.norm", complex_safe=False)
def _norm(draw: Draw) -> Trial:
    keepdims, kind = draw(st.booleans()), draw(st.sampled_from(["all", "vector", "matrix", "singular"]))
    order: Any = None
    if kind == "all":
        x, axis = values(draw, draw(shapes(least=1))), None
    elif kind == "vector":
        x = unequal(draw, draw(shapes(least=1, dims=(1, 3))))
        axis = draw(st.integers(-x.ndim, x.ndim - 1))
        order = draw(st.sampled_from([None, math.inf, -math.inf, 0, 1, 2, 3, -1, 0.5, 2.5]))
    elif kind == "matrix":
        x = unequal(draw, draw(shapes(least=1, dims=(2, 3))))
        axis, order = tuple(draw(st.permutations(range(x.ndim)))[:2]), draw(st.sampled_from([None, "fro", 1, -np.inf]))
        sums = np.sum(abs(x), axis[order != 1], keepdims=True)  # make these unequal too
        x = x / sums * abs(unequal(draw, sums.shape))
        order = draw(st.sampled_from([order, -order])) if isinstance(order, int | float) else order
    else:
        x, order = spread(draw, 2, 3), draw(st.sampled_from(["nuc", 2, -2]))
        axis = draw(st.sampled_from([(-1, -2), (x.ndim - 2, x.ndim - 1)]))
    return Trial(
        lambda x: tgl.linalg.norm(x, order, axis, keepdims),
        [x],
        lambda x: np.linalg.norm(x, order, axis, keepdims),
        None if axis is None or order == 0 else lambda x: pytorch().linalg.norm(x, order, axis, keepdims),
    )
