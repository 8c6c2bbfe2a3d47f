"""Inner blocks of matrix products: a tile of the result stays in registers while the sum runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba.core import cgutils
from numba.extending import intrinsic

from tinygrad_lab.kernels.numba.loops.jit import jit
from tinygrad_lab.kernels.numba.loops.vectors import INT, LANES, TILE_ROWS, UNROLL, Code, emitting, integer, splat

# `columns_times_rows` needs a constant height; compiled code treats these globals as constants.
ROWS_1, ROWS_2, ROWS_3, ROWS_4 = TILE_ROWS[1:]
HALF_1, HALF_2, HALF_3, HALF_4 = (rows // 2 for rows in TILE_ROWS[1:])


def _emit_rows_times_panel(code: Code, nv: int, args: Sequence[Any]) -> None:
    a, rows, taps, count, run, panel, start, clip, c, places, columns = args
    b, height = code.builder, TILE_ROWS[nv]
    sums = [[code.variable(splat(0)) for _ in range(nv)] for _ in range(height)]
    with b.if_else(b.icmp_signed("!=", start, integer(0))) as (fresh, continued):
        with fresh:
            starts = [code.load(code.at(start, v * LANES)) for v in range(nv)]
            for row in sums:
                for v in range(nv):
                    b.store(starts[v], row[v])
        with continued:
            for r, row in enumerate(sums):
                place = code.at(c, code.number(places, r))
                for v in range(nv):
                    b.store(code.load(code.at(place, v * LANES), code.mask(columns, v * LANES)), row[v])
    right = code.variable(code.at(panel, 0))
    offsets = [code.number(rows, r) for r in range(height)]

    def step(left: Any, k: Any, ahead: int) -> None:
        """Add the products of one element of each row with one row of the panel."""
        p = b.load(right)
        vectors = [code.load(code.at(p, (ahead * nv + v) * LANES)) for v in range(nv)]
        for r in range(height):
            x = code.spread(b.load(code.at(code.at(code.at(left, k), offsets[r]), ahead)))
            for v in range(nv):
                b.store(code.multiply_add(x, vectors[v], b.load(sums[r][v])), sums[r][v])

    whole = b.and_(run, integer(-UNROLL))
    with cgutils.for_range(b, count, intp=INT) as tap:
        left = code.at(a, code.number(taps, tap.index))
        with cgutils.for_range_slice(b, integer(0), whole, integer(UNROLL), INT) as (k, _):
            for ahead in range(UNROLL):
                step(left, k, ahead)
            b.store(code.at(b.load(right), UNROLL * nv * LANES), right)
        with cgutils.for_range_slice(b, whole, run, integer(1), INT) as (k, _):
            step(left, k, 0)
            b.store(code.at(b.load(right), nv * LANES), right)
    _emit_store_rows(code, nv, [[b.load(s) for s in row] for row in sums], clip, c, places, columns)


def _emit_store_rows(code: Code, nv: int, sums: list[list[Any]], clip: Any, c: Any, places: Any, columns: Any) -> None:
    """Store rows of sums, `columns` numbers of each, with ReLU if `clip`; NaN stays NaN."""
    for r, row in enumerate(sums):
        place = code.at(c, code.number(places, r))
        for v, value in enumerate(row):
            value = code.clipped(value, clip)
            if v < nv - 1:
                code.store(value, code.at(place, v * LANES))
            else:
                code.store(value, code.at(place, v * LANES), code.mask(columns, v * LANES))


def _emit_columns_times_rows(code: Code, shape: tuple[int, int, bool], args: Sequence[Any]) -> None:
    (nv, height, scattered), b = shape, code.builder
    a, rows, pixels, count, right, width, columns, c, stride = args
    offsets = [code.number(rows, r) if scattered else integer(r) for r in range(height)]
    sums = [[code.variable(splat(0)) for _ in range(nv)] for _ in range(height)]
    mask = code.mask(columns, (nv - 1) * LANES)
    with cgutils.for_range(b, count, intp=INT) as pixel:
        left = code.at(a, code.number(pixels, pixel.index))
        row = code.at(right, b.mul(pixel.index, width))
        vectors = [code.load(code.at(row, v * LANES)) for v in range(nv - 1)]
        vectors.append(code.load(code.at(row, (nv - 1) * LANES), mask))
        for r in range(height):
            x = code.spread(b.load(code.at(left, offsets[r])))
            for v in range(nv):
                b.store(code.multiply_add(x, vectors[v], b.load(sums[r][v])), sums[r][v])
    for r in range(height):
        for v in range(nv):
            place = code.at(c, b.add(b.mul(stride, integer(r)), integer(v * LANES)))
            code.store(b.fadd(code.load(place), b.load(sums[r][v])), place)


@intrinsic(prefer_literal=True)
def rows_times_panel(context, nv, a, rows, taps, count, run, panel, start, clip, c, places, columns):
    """Store c[places[r] + q] = start[q] + sum over t, k of a[taps[t] + rows[r] + k] * panel[t * run + k, q].

    If `start` is 0 instead of an address, the sum is added to c. r goes over `TILE_ROWS[nv]` rows, t over `count` taps,
    k over `run` neighbors, and q over the first `columns` of nv * LANES columns. `clip` applies ReLU. Tables are int64,
    offsets are in floats.
    """
    return emitting(_emit_rows_times_panel, nv.literal_value, [nv], 11)


@intrinsic(prefer_literal=True)
def columns_times_rows(context, nv, height, scattered, a, rows, pixels, count, right, width, columns, c, stride):
    """Add to c[r, q] the sum over p of a[pixels[p] + rows[r]] * right[p * width + q].

    r goes over `height` rows of c, `stride` floats apart, p over `count` pixels, and q over nv * LANES columns; columns
    of `right` from `columns` on count as 0. Unless `scattered`, rows[r] is r and the table is not read.
    """
    shape = nv.literal_value, height.literal_value, bool(scattered.literal_value)
    return emitting(_emit_columns_times_rows, shape, [nv, height, scattered], 9)


@jit
def tile_rows(columns):
    """Return the number of rows in a tile of the functions below, for a number of columns."""
    return TILE_ROWS[(columns + LANES - 1) // LANES]


@jit
def multiply_rows(a, rows, taps, count, run, panel, start, clip, c, places, columns):
    """Run `rows_times_panel` on a panel of as many vectors as the columns need."""
    nv = (columns + LANES - 1) // LANES
    if nv == 4:
        rows_times_panel(4, a, rows, taps, count, run, panel, start, clip, c, places, columns)
    elif nv == 3:
        rows_times_panel(3, a, rows, taps, count, run, panel, start, clip, c, places, columns)
    elif nv == 2:
        rows_times_panel(2, a, rows, taps, count, run, panel, start, clip, c, places, columns)
    else:
        rows_times_panel(1, a, rows, taps, count, run, panel, start, clip, c, places, columns)


@jit
def multiply_columns(a, pixels, count, right, width, columns, c, stride):
    """Run `columns_times_rows` on neighboring rows, for as many vectors as the columns need."""
    nv = (columns + LANES - 1) // LANES
    if nv == 4:
        columns_times_rows(4, ROWS_4, False, a, 0, pixels, count, right, width, columns, c, stride)
    elif nv == 3:
        columns_times_rows(3, ROWS_3, False, a, 0, pixels, count, right, width, columns, c, stride)
    elif nv == 2:
        columns_times_rows(2, ROWS_2, False, a, 0, pixels, count, right, width, columns, c, stride)
    else:
        columns_times_rows(1, ROWS_1, False, a, 0, pixels, count, right, width, columns, c, stride)


@jit
def multiply_scattered(a, rows, height, pixels, count, right, width, columns, c, stride):
    """Run `columns_times_rows` on rows from a table, in tiles of full height and, for the rest, of half height."""
    nv = (columns + LANES - 1) // LANES
    low = height <= TILE_ROWS[nv] // 2
    if nv == 4 and low:
        columns_times_rows(4, HALF_4, True, a, rows, pixels, count, right, width, columns, c, stride)
    elif nv == 4:
        columns_times_rows(4, ROWS_4, True, a, rows, pixels, count, right, width, columns, c, stride)
    elif nv == 3 and low:
        columns_times_rows(3, HALF_3, True, a, rows, pixels, count, right, width, columns, c, stride)
    elif nv == 3:
        columns_times_rows(3, ROWS_3, True, a, rows, pixels, count, right, width, columns, c, stride)
    elif nv == 2 and low:
        columns_times_rows(2, HALF_2, True, a, rows, pixels, count, right, width, columns, c, stride)
    elif nv == 2:
        columns_times_rows(2, ROWS_2, True, a, rows, pixels, count, right, width, columns, c, stride)
    elif low:
        columns_times_rows(1, HALF_1, True, a, rows, pixels, count, right, width, columns, c, stride)
    else:
        columns_times_rows(1, ROWS_1, True, a, rows, pixels, count, right, width, columns, c, stride)
