"""Batch statistics and affine maps of rows of channels; blocks are `rows` rows each.

The sums of a block are single precision; the caller sums over blocks. A block's squares are summed about its own mean
while it is in the cache, so memory is read once and nothing cancels:

    sum (x - mean)^2 = sum over blocks of [sum (x - block's mean)^2 + rows * (block's mean - mean)^2]

References
----------
Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance", equation 2.1.
"""

from __future__ import annotations

from tinygrad_lab.kernels.numba.loops.channels import affine_rows, blend_rows, sum_centered, sum_rows, sum_squares
from tinygrad_lab.kernels.numba.loops.jit import jit
from tinygrad_lab.kernels.numba.loops.memory import address


@jit
def row_range(x, rows, first, last):
    """Return the first row of a range of blocks, and the number of their rows."""
    begin = first * rows
    return begin, min(last * rows, x.shape[0]) - begin


@jit
def statistics(x, rows, means, squares, first, last):
    """Store each block's mean, and its sum of squares about the mean."""
    channels = x.shape[1]
    for block in range(first, last):
        begin, count = row_range(x, rows, block, block + 1)
        source, mean = address(x) + 4 * begin * channels, means[block]
        sum_rows(count, channels, source, address(mean))
        for q in range(channels):
            mean[q] /= count
        sum_squares(count, channels, source, address(mean), address(squares[block]))


@jit
def sums(x, rows, totals, first, last):
    """Store each block's sum of x."""
    channels = x.shape[1]
    for block in range(first, last):
        begin, count = row_range(x, rows, block, block + 1)
        sum_rows(count, channels, address(x) + 4 * begin * channels, address(totals[block]))


@jit
def centered_sums(g, x, mean, rows, totals, moments, first, last):
    """Store each block's sum of g and of g * (x - mean)."""
    channels = x.shape[1]
    for block in range(first, last):
        begin, count = row_range(x, rows, block, block + 1)
        at = 4 * begin * channels
        total, moment = address(totals[block]), address(moments[block])
        sum_centered(count, channels, address(g) + at, address(x) + at, address(mean), total, moment)


@jit
def channel_affine(x, mean, factor, shift, clip, rows, out, first, last):
    """Store (x - mean) * factor + shift, with ReLU if `clip`."""
    channels = x.shape[1]
    for block in range(first, last):
        begin, count = row_range(x, rows, block, block + 1)
        at = 4 * begin * channels
        values = address(mean), address(factor), address(shift)
        affine_rows(count, channels, address(x) + at, address(out) + at, *values, clip)


@jit
def blend(g, x, mean, a, b, c, rows, out, first, last):
    """Store a * g + b * (x - mean) + c."""
    channels = x.shape[1]
    for block in range(first, last):
        begin, count = row_range(x, rows, block, block + 1)
        at = 4 * begin * channels
        values = address(mean), address(a), address(b), address(c)
        blend_rows(count, channels, address(g) + at, address(x) + at, address(out) + at, *values)
