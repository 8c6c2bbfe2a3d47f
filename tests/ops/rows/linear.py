"""Rows of the table: products of matrices and tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tests.ops.drawing import Draw, Trial, broadcast_pair, operation, pytorch, shapes, values


@operation("matmul")
def _matmul(draw: Draw) -> Trial:
    n, k, m = (draw(st.integers(0, 3)) for _ in range(3))
    first, second = broadcast_pair(draw)
    x_shape = draw(st.sampled_from([(k,), (n, k), (*first[-2:], n, k)]))
    y_shape = draw(st.sampled_from([(k,), (k, m), (*second[-2:], k, m)]))
    return Trial(tgl.matmul, [values(draw, x_shape), values(draw, y_shape)], np.matmul, lambda x, y: x @ y)


@operation("dot")
def _dot(draw: Draw) -> Trial:
    k = draw(st.integers(0, 3))
    x_shape = draw(st.sampled_from([(), (k,), (2, k), (2, 1, k)]))
    y_shape = draw(st.sampled_from([(), (k,), (k, 3), (2, k, 3)]))

    def torch(x: Any, y: Any) -> Any:
        return pytorch().tensordot(x, y, [[-1], [max(y.ndim - 2, 0)]]) if x.ndim and y.ndim else x * y

    return Trial(tgl.dot, [values(draw, x_shape), values(draw, y_shape)], np.dot, torch)


@operation("inner")
def _inner(draw: Draw) -> Trial:
    k = draw(st.integers(0, 3))
    x_shape, y_shape = (draw(st.sampled_from([(), (k,), (2, k), (2, 1, k)])) for _ in range(2))
    return Trial(
        tgl.inner, [values(draw, x_shape), values(draw, y_shape)], np.inner, lambda x, y: pytorch().inner(x, y)
    )


@operation("outer")
def _outer(draw: Draw) -> Trial:
    x, y = (values(draw, draw(shapes(dims=(0, 2)))) for _ in range(2))
    return Trial(tgl.outer, [x, y], np.outer, lambda x, y: pytorch().outer(x.reshape(-1), y.reshape(-1)))


@operation("kron")
def _kron(draw: Draw) -> Trial:
    x, y = (values(draw, draw(shapes(dims=(0, 2)))) for _ in range(2))
    return Trial(tgl.kron, [x, y], np.kron, lambda x, y: pytorch().kron(x, y))


@operation("tensordot")
def _tensordot(draw: Draw) -> Trial:
    common = draw(shapes(dims=(0, 2)))
    x = values(draw, (*draw(shapes(dims=(0, 1))), *common))
    y = values(draw, (*common, *draw(shapes(dims=(0, 1)))))
    count = len(common)
    axes: Any = count
    if count and draw(st.booleans()):
        order = draw(st.permutations(range(count)))
        axes = ([x.ndim - count + i for i in order], [i - y.ndim * draw(st.integers(0, 1)) for i in order])
    if count == 1 and draw(st.booleans()):
        axes = (-1, 0)
    return Trial(
        lambda x, y: tgl.tensordot(x, y, axes),
        [x, y],
        lambda x, y: np.tensordot(x, y, axes),
        lambda x, y: pytorch().tensordot(
            x, y, axes if isinstance(axes, int) else [np.atleast_1d(a).tolist() for a in axes]
        ),
    )


EINSUMS = [
    ("ij,jk->ik", "ij jk"),
    ("ij,jk", "ij jk"),
    ("bij,bjk->bik", "bij bjk"),
    ("i,j->ij", "i j"),
    ("ij->ji", "ij"),
    ("ji", "ji"),
    ("ij->", "ij"),
    ("ijk->j", "ijk"),
    ("i,i->", "i i"),
    ("ij,ij,ij->i", "ij ij ij"),
    ("ij,kj,jl->kil", "ij kj jl"),
    ("ij,k->i", "ij k"),
    ("...i,...i->...", "bi bi"),
    ("...i,ij->...j", "abi ij"),
    ("ij,...jk->...ik", "ij bjk"),
    ("...i,...i", "Bi Ci"),  # capitals: length 1 or that of the others
    ("ii->i", "ii"),
    ("ii", "ii"),
    ("iij,j->i", "iij j"),
    (" i j , j i -> i ", "ij ji"),
]


@operation("einsum")
def _einsum(draw: Draw) -> Trial:
    subscripts, letters = draw(st.sampled_from(EINSUMS))
    lengths = {letter: draw(st.sampled_from([2, 3, 1, 0])) for letter in "abijkl"}
    lengths |= {"B": 1, "C": draw(st.integers(1, 3))}
    arrays = [values(draw, tuple(lengths[c] for c in term)) for term in letters.split()]
    return Trial(
        lambda *xs: tgl.einsum(subscripts, *xs),
        arrays,
        lambda *xs: np.einsum(subscripts, *xs),
        lambda *xs: pytorch().einsum(subscripts, *xs),
    )
