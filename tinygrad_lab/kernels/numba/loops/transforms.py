"""Winograd (Toom-Cook) transforms of tiles of vectors, written out operation by operation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba.extending import intrinsic

from tinygrad_lab.kernels.numba.loops.vectors import Code, emitting, splat
from tinygrad_lab.kernels.winograd import matrices


def _combine(code: Code, terms: list[tuple[float, Any]]) -> Any:
    """Return the linear combination of vectors."""
    b, total = code.builder, None
    for coefficient, vector in sorted((t for t in terms if t[0]), key=lambda t: abs(t[0]) != 1):
        if total is None:
            total = vector if coefficient == 1 else b.fmul(splat(coefficient), vector)
        elif abs(coefficient) == 1:
            total = (b.fadd if coefficient == 1 else b.fsub)(total, vector)
        else:
            total = code.multiply_add(splat(coefficient), vector, total)
    return splat(0) if total is None else total


def _mirrored(p: Any, q: Any) -> bool:
    return bool(np.array_equal(np.abs(p), np.abs(q)) and not np.array_equal(p, q))


def _emit_matrix(code: Code, matrix: Any, vectors: list[Any]) -> list[Any]:
    """Return matrix times a column of vectors.

    The rows (or columns) of the points p and -p differ only in signs. Their even and odd parts are computed once, which
    halves the work.
    """
    b, out = code.builder, [None] * len(matrix)
    pair = next(
        (pair for pair in itertools.combinations(range(matrix.shape[1]), 2) if _mirrored(*matrix.T[[*pair]])), None
    )
    if pair:
        first, second = pair
        same, merged, vectors = matrix[:, first] == matrix[:, second], matrix.copy(), list(vectors)
        merged[:, first], merged[:, second] = np.where(same, matrix[:, first], 0), np.where(same, 0, matrix[:, first])
        p, q = vectors[first], vectors[second]
        vectors[first], vectors[second] = b.fadd(p, q), b.fsub(p, q)
        return _emit_matrix(code, merged, vectors)
    for i, row in enumerate(matrix):
        if out[i] is not None:
            continue
        twin = next((k for k in range(i + 1, len(matrix)) if _mirrored(row, matrix[k])), None)
        if twin is None:
            out[i] = _combine(code, list(zip(row, vectors, strict=True)))
            continue
        same = row == matrix[twin]
        even = _combine(code, list(zip(np.where(same, row, 0), vectors, strict=True)))
        odd = _combine(code, list(zip(np.where(same, 0, row), vectors, strict=True)))
        out[i], out[twin] = b.fadd(even, odd), b.fsub(even, odd)
    return out


def _emit_transform(code: Code, choice: tuple[Any, bool], args: Sequence[Any]) -> None:
    matrix, finishing = choice
    sources, offset, targets, shift = args[:4]
    b, (rows, columns) = code.builder, matrix.shape
    half = []  # half[j][i]: matrix times column j of the source
    for j in range(columns):
        column = [code.load(code.at(code.number(sources, i * columns + j), offset)) for i in range(columns)]
        half.append(_emit_matrix(code, matrix, column))
    for i in range(rows):
        for j, value in enumerate(_emit_matrix(code, matrix, [half[k][i] for k in range(columns)])):
            if finishing:
                value = code.clipped(b.fadd(value, code.load(code.at(args[4], 0))), args[5])
            code.store(value, code.at(code.number(targets, i * rows + j), shift))


@intrinsic(prefer_literal=True)
def transform(context, m, r, which, sources, offset, targets, shift):
    """Store M s M' for a square tile s of vectors, LANES channels at once.

    `which` names M: "input" (B'), "filter" (G), "spread" (A) or "collect" (G') of F(m, r). `sources` and `targets` are
    tables of addresses, one for each element of the tile, row by row. The vectors start `offset` and `shift` floats
    after these addresses.
    """
    output, taps, tile = matrices(m.literal_value, r.literal_value)
    matrix = {"input": tile, "filter": taps, "spread": output.T, "collect": taps.T}[which.literal_value]
    return emitting(_emit_transform, (np.float32(matrix), False), [m, r, which], 4)


@intrinsic(prefer_literal=True)
def transform_output(context, m, r, sources, offset, targets, shift, bias, clip):
    """Store A' s A + bias as `transform` does, with ReLU if `clip`."""
    return emitting(_emit_transform, (np.float32(matrices(m.literal_value, r.literal_value).output), True), [m, r], 6)
