"""Which block of vector instructions serves a number of columns."""

from __future__ import annotations

from tinygrad_lab.kernels.compiled.jit import jit
from tinygrad_lab.kernels.compiled.vectors import LANES, TILE_ROWS, columns_times_rows, rows_times_panel

# Compiled code takes these for constants, as the blocks want them.
ROWS_1, ROWS_2, ROWS_3, ROWS_4 = TILE_ROWS[1:]
HALF_1, HALF_2, HALF_3, HALF_4 = (rows // 2 for rows in TILE_ROWS[1:])


@jit
def tile_rows(columns):
    """Return how many rows the blocks below work on at a time, for a number of columns."""
    return TILE_ROWS[(columns + LANES - 1) // LANES]


@jit
def multiply_rows(a, rows, taps, count, run, panel, start, clip, c, places, columns):
    """Run `rows_times_panel` for a panel of as many vectors as the columns need."""
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
    """Run `columns_times_rows` on neighbouring rows, for as many vectors as the columns need."""
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
    """Run `columns_times_rows` on rows from a table, in tiles of full height or, for what is left of it, of half."""
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
