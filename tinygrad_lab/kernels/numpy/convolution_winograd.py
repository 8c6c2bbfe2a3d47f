"""Winograd (Toom-Cook) convolution in NumPy, a few images at a time; see `tinygrad_lab.kernels.winograd`."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.arrays import Options, turned
from tinygrad_lab.kernels.blas import one_blas_thread
from tinygrad_lab.kernels.numpy.blocks import BLOCK_BYTES, finish, partial_sums, run_blocks, surrounded, total
from tinygrad_lab.kernels.winograd import matrices
from tinygrad_lab.ops.windows import Pair


class _Tiles(NamedTuple):
    """A convolution by tiles of m x m outputs; the window of map pixel (0, 0) starts at image pixel `begin`."""

    m: int
    r: int
    size: Pair
    begin: Pair

    @property
    def counts(self) -> Pair:
        """Number of tiles along each axis of a map."""
        return -(-self.size[0] // self.m), -(-self.size[1] // self.m)

    def bytes_each(self, channels: int, itemsize: int) -> int:
        """Return the bytes that the transformed tiles of an image take."""
        return math.prod(self.counts) * (self.m + self.r - 1) ** 2 * channels * itemsize

    def transformed(self, x: Array, matrix: Array, begin: Pair) -> Array:
        """Return M d M' for all square tiles d, as (n * n, tiles, C), where M has n rows and as many columns as d."""
        width, (down, across) = matrix.shape[1], self.counts
        seen = surrounded(x, begin, ((down - 1) * self.m + width, (across - 1) * self.m + width))
        image, row, column, channel = seen.strides
        shape = (width, width, len(x), down, across, x.shape[3])
        strides = (row, column, image, self.m * row, self.m * column, channel)
        tiles = as_strided(seen, shape, strides, writeable=False).reshape(width, -1)  # the only copy
        return _both_sides(matrix, tiles).reshape(len(matrix) ** 2, -1, x.shape[3])


def _both_sides(matrix: Array, tiles: Array) -> Array:
    """Return M d M' for tiles laid out as (row, column, all other axes)."""
    rows = np.matmul(matrix, tiles.reshape(matrix.shape[1], -1))
    return np.matmul(matrix, rows.reshape(len(matrix), matrix.shape[1], -1))


@one_blas_thread()  # for the filters as well: a thread that BLAS starts keeps a core busy while it waits for work
def forward(x: Array, w: Array, b: Array | None, clip: bool, size: Pair, how: Options, m: int) -> Array:
    """Convolve by tiles of m x m outputs, block by block: transform, multiply, transform back."""
    tiles = _Tiles(m, w.shape[0], size, how.begin)
    down, across = tiles.counts
    output, taps, tile = (matrix.astype(x.dtype) for matrix in matrices(m, tiles.r))
    filters = _both_sides(taps, w).reshape(-1, *w.shape[2:])  # (n*n, C, O)
    y = np.empty((len(x), *tiles.size, w.shape[3]), x.dtype)

    def work(_: int, images: slice) -> None:
        products = np.matmul(tiles.transformed(x[images], tile, tiles.begin), filters)  # (n*n, tiles, O)
        result = _both_sides(output, products).reshape(m, m, -1, down, across, w.shape[3])
        result = result.transpose(2, 3, 0, 4, 1, 5)  # -> (N, down, m, across, m, O)
        part = y[images]
        if (down * m, across * m) == tiles.size:
            part.reshape(result.shape)[...] = result
        else:
            whole = result.reshape(len(part), down * m, across * m, -1)
            part[...] = whole[:, : tiles.size[0], : tiles.size[1]]
        finish(part, b, clip)

    run_blocks(work, len(x), tiles.bytes_each(max(w.shape[2:]), x.itemsize))
    return y


def gradient_x(g: Array, w: Array, size: Pair, how: Options, m: int) -> Array:
    """Convolve the maps with the rotated filters, by tiles of m x m pixels."""
    return forward(g, turned(w), None, False, size, how.turned(w.shape[:2]), m)


@one_blas_thread()
def gradient_w(x: Array, g: Array, kernel_size: Pair, how: Options, m: int) -> Array:
    """Sum the products of transformed tiles of images and maps, in parts, and transform the sum."""
    tiles = _Tiles(m, kernel_size[0], g.shape[1:3], how.begin)
    output, taps, tile = (matrix.astype(x.dtype) for matrix in matrices(tiles.m, tiles.r))
    parts = partial_sums((len(tile) ** 2, x.shape[3], g.shape[3]), x.dtype)
    step = max(1, BLOCK_BYTES // max(1, parts[0, 0].nbytes))

    def work(part: int, images: slice) -> None:
        lefts = tiles.transformed(x[images], tile, tiles.begin)
        rights = tiles.transformed(g[images], np.ascontiguousarray(output.T), (0, 0))
        for first in range(0, len(lefts), step):  # a few products at a time: all together are as large as the sum
            some = slice(first, first + step)
            parts[part, some] += np.matmul(lefts[some].transpose(0, 2, 1), rights[some])

    run_blocks(work, len(x), tiles.bytes_each(max(x.shape[3], g.shape[3]), x.itemsize), parts=len(parts))
    sums = total(parts)
    return _both_sides(np.ascontiguousarray(taps.T), sums).reshape(tiles.r, tiles.r, *sums.shape[1:])
