"""Winograd convolution by compiled kernels: memory and launch. See `kernels.winograd`, `loops.winograd`."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.arrays import Options, contiguous, padded_bias, round_up
from tinygrad_lab.kernels.threads import aligned, parallel_for
from tinygrad_lab.ops.windows import Pair

PER_BLOCK = 48  # tiles in a block; a multiple of the rows of every register tile
PARTS = 8  # parts of a sum over all tiles: a fixed number, so that the order of the sum is fixed
PART_BYTES = 1 << 20  # so that the sums of one part stay in the cache
SPREAD_BYTES = 1 << 24  # of transformed tiles in memory at a time


def forward(x: Array, w: Array, b: Array | None, clip: bool, size: Pair, how: Options, m: int) -> Array:
    """Convolve by tiles of m x m outputs."""
    return _convolve(x, w, b, clip, size, how.begin, m, flipped=False)


def gradient_x(g: Array, w: Array, size: Pair, how: Options, m: int) -> Array:
    """Convolve the maps with the rotated filters, by tiles of m x m pixels."""
    return _convolve(g, w, None, False, size, how.turned(w.shape[:2]).begin, m, flipped=True)


def _convolve(
    x: Array, w: Array, b: Array | None, clip: bool, size: Pair, begin: Pair, m: int, *, flipped: bool
) -> Array:
    """Convolve by tiles of m x m outputs; the window of output pixel (0, 0) starts at image pixel `begin`."""
    from tinygrad_lab.kernels.numba.loops import winograd
    from tinygrad_lab.kernels.numba.loops.vectors import LANES, PANEL

    x, w, r = contiguous(x), contiguous(w), w.shape[0]
    inputs, outputs = (w.shape[3], w.shape[2]) if flipped else (w.shape[2], w.shape[3])
    u = aligned(((m + r - 1) ** 2 * inputs * round_up(outputs, LANES),))
    parallel_for(winograd.filter_kernel(m, r), (w, flipped, u), inputs)
    y = aligned((x.shape[0], *size, outputs))
    down, across = -(-size[0] // m), -(-size[1] // m)
    arguments = (x, u, padded_bias(b, outputs, PANEL), int(clip), y, -begin[0], -begin[1], down, across, PER_BLOCK)
    parallel_for(winograd.forward_kernel(m, r), arguments, -(-x.shape[0] * down * across // PER_BLOCK))
    return y


def gradient_w(x: Array, g: Array, kernel_size: Pair, how: Options, m: int) -> Array:
    """Sum the gradient of the filters over tiles of m x m outputs.

    Small sums are computed in parts. Otherwise a range of tiles is transformed first and then multiplied.
    """
    from tinygrad_lab.kernels.numba.loops import winograd
    from tinygrad_lab.kernels.numba.loops.vectors import LANES, ROWS_UNIT

    x, g, r = contiguous(x), contiguous(g), kernel_size[0]
    channels, outputs, squares = x.shape[3], g.shape[3], (m + r - 1) ** 2
    down, across = -(-g.shape[1] // m), -(-g.shape[2] // m)
    tiles, origin = x.shape[0] * down * across, (how.padding[0][0], how.padding[1][0])
    sums_shape = (squares, round_up(channels, ROWS_UNIT), round_up(outputs, LANES))
    if 4 * math.prod(sums_shape) <= PART_BYTES:
        blocks = -(-tiles // PER_BLOCK)
        sums = np.zeros((min(PARTS, blocks), *sums_shape), np.float32)
        arguments = (x, g, sums, *origin, down, across, PER_BLOCK)
        parallel_for(winograd.filter_gradient_kernel(m, r), arguments, len(sums))
    else:
        sums = np.zeros((1, *sums_shape), np.float32)
        depth, width = round_up(channels, LANES), round_up(outputs, LANES)
        most = max(1, min(tiles, SPREAD_BYTES // (4 * squares * (depth + width))))
        lefts = aligned((squares, most + 1, depth))  # one more: a register tile may read past the end of a row
        rights = aligned((squares, most, width))
        for begin_tile in range(0, tiles, most):
            count = min(most, tiles - begin_tile)
            parallel_for(winograd.spread_kernel(m, r), (x, g, lefts, rights, begin_tile, *origin, down, across), count)
            parallel_for(winograd.multiply_transforms, (lefts, rights, count, channels, sums), squares)
    gradient = np.empty((r, r, channels, outputs), np.float32)
    parallel_for(winograd.collect_kernel(m, r), (sums, gradient), channels)
    return gradient
