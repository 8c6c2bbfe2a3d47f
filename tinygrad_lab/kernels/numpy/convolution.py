"""Convolution in NumPy, a few images at a time so that their windows stay in the cache.

The windows of a whole batch take kh * kw times the memory of its images. A block's worth takes about a megabyte, is
multiplied while it is in the cache, and is forgotten; or, where that is cheaper, tiles are transformed instead (see
`tinygrad_lab.kernels.winograd`). Blocks run in several threads, each with BLAS on one; sums over blocks go in their
order, so that the threads leave no trace.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.arrays import Options, as_pixel, as_tap, is_product
from tinygrad_lab.kernels.blas import one_blas_thread
from tinygrad_lab.kernels.cost_model import ARRAYS, Shape, choose_neighbours, choose_tile
from tinygrad_lab.kernels.neighbours import beside, gather, widen
from tinygrad_lab.kernels.threads import run
from tinygrad_lab.kernels.winograd import matrices
from tinygrad_lab.ops.convolution import conv2d, conv2d_grad_w, conv2d_grad_x, conv2d_relu
from tinygrad_lab.ops.windows import Pair, places

BLOCK_BYTES = 1 << 21  # of windows at a time: less means more calls, between which threads wait for the interpreter
FEWEST_BLOCKS = 4  # for every thread to have some
PARTS, PART_BYTES = 8, 1 << 25  # of a sum over all images: fixed, so that the order of summing is; and their memory
ERROR, TILED_ERROR = 1e-5, 2e-4


def run_blocks(work: Callable[[int, slice], None], images: int, bytes_each: int, *, parts: int = 0) -> None:
    """Call work(number, images) for blocks of images that take BLOCK_BYTES, or that are one of some `parts`."""
    size = max(1, min(BLOCK_BYTES // max(1, bytes_each), -(-images // FEWEST_BLOCKS)))
    blocks = -(-images // size)
    parts = min(parts, blocks) if parts else blocks

    def some(first: int, last: int) -> None:
        for part in range(first, last):
            for block in range(blocks * part // parts, blocks * (part + 1) // parts):
                work(part, slice(block * size, (block + 1) * size))

    with one_blas_thread():
        run(some, (), parts)


def _surrounded(x: Array, begin: Sequence[int], size: Sequence[int]) -> Array:
    """Return the pixels from `begin` on, `size` of them along each axis, with zeros where the images end."""
    _, height, width, _ = x.shape
    if tuple(begin) == (0, 0) and tuple(size) == (height, width):
        return np.ascontiguousarray(x)
    out = np.zeros((len(x), *size, x.shape[3]), x.dtype)
    source, target = [slice(None)], [slice(None)]
    for first, count, there in zip(begin, size, (height, width), strict=True):
        low = min(max(0, first), there)
        high = max(low, min(there, first + count))
        source.append(slice(low, high))
        target.append(slice(low - first, high - first) if high > low else slice(0, 0))
    out[tuple(target)] = x[tuple(source)]
    return out


class _View(NamedTuple):
    """How a map's pixels see an image: map pixel (0, 0) sees image pixels from `begin` on."""

    size: Pair
    window: Pair
    step: Pair
    begin: Pair
    dilation: Pair
    groups: int

    def neighbours(self, images: int, inputs: int, outputs: int) -> int:
        """Return how many pixels side by side are best computed at once."""
        if self.groups != 1 or self.dilation[1] != 1 or not all(self.size):
            return 1
        return choose_neighbours(Shape(images, *self.size, self.window, inputs, outputs), ARRAYS, stride=self.step[1])

    def wide(self, m: int) -> _View:
        """Return how m of the map's pixels, side by side, see the image."""
        return self._replace(
            size=(self.size[0], self.size[1] // m),
            window=(self.window[0], self.window[1] + (m - 1) * self.step[1]),
            step=(self.step[0], m * self.step[1]),
        )

    def columns(self, x: Array) -> Array:
        """Return what each tap sees: (groups, pixels, taps * C / groups)."""
        spans = [
            (n - 1) * s + (k - 1) * d + 1
            for n, s, k, d in zip(self.size, self.step, self.window, self.dilation, strict=True)
        ]
        seen = _surrounded(x, self.begin, spans)
        image, row, column, channel = seen.strides
        per_group = x.shape[3] // self.groups
        shape = (self.groups, len(x), *self.size, *self.window, per_group)
        steps = (row * self.step[0], column * self.step[1], row * self.dilation[0], column * self.dilation[1])
        view = as_strided(seen, shape, (per_group * channel, image, *steps, channel), writeable=False)
        pixels = len(x) * math.prod(self.size)
        return view.reshape(self.groups, pixels, math.prod(self.window) * per_group)  # the one copy

    @property
    def taps(self) -> int:
        """How many numbers of a channel the pixels of an image see."""
        return math.prod(self.size) * math.prod(self.window)


def _view(size: Pair, window: Pair, how: Options) -> _View:
    return _View(size, window, how.stride, (-how.padding[0][0], -how.padding[1][0]), how.dilation, how.groups)


def _finish(y: Array, b: Array | None, clip: bool) -> None:
    if b is not None:
        y += b
    if clip:
        np.maximum(y, 0, out=y)


def _convolve(x: Array, w: Array, b: Array | None, clip: bool, view: _View) -> Array:
    """Multiply what the windows see with the filters, block by block."""
    m = view.neighbours(len(x), *w.shape[2:])
    if m > 1:
        y = _convolve_plainly(x, widen(w, m, view.step[1]), None if b is None else np.tile(b, m), clip, view.wide(m))
        return y.reshape(len(x), *view.size, w.shape[3])  # (N, H, W/m, m*O) -> (N, H, W, O)
    return _convolve_plainly(x, w, b, clip, view)


def _convolve_plainly(x: Array, w: Array, b: Array | None, clip: bool, view: _View) -> Array:
    y = np.empty((len(x), *view.size, w.shape[3]), x.dtype)
    outputs = w.shape[3] // view.groups
    filters = w.reshape(-1, view.groups, outputs).transpose(1, 0, 2)  # (kh, kw, C/g, O) -> (g, kh*kw*C/g, O/g)

    def work(_: int, images: slice) -> None:
        columns, part = view.columns(x[images]), y[images]
        if view.groups == 1:
            np.matmul(columns[0], filters[0], out=part.reshape(-1, outputs))
        else:
            products = np.matmul(columns, filters)  # (groups, pixels, O/groups)
            part.reshape(-1, view.groups, outputs)[...] = products.transpose(1, 0, 2)
        _finish(part, b, clip)

    run_blocks(work, len(x), view.taps * x.shape[3] * x.itemsize)
    return y


def _parts(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return zeros for the parts of a sum: a few, and fewer where they are large."""
    each = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
    return np.zeros((max(2, min(PARTS, PART_BYTES // each)), *shape), dtype)


def _total(parts: Array) -> Array:
    """Return the sum of the parts, in their order and in the memory of the first."""
    for part in parts[1:]:
        parts[0] += part
    total: Array = parts[0]
    return total


def _gradient_w(x: Array, g: Array, view: _View) -> Array:
    """Multiply what the windows see with the maps, in parts, and sum these."""
    m = view.neighbours(len(x), x.shape[3], g.shape[3])
    if m > 1:
        return gather(_gradient_w_plainly(x, beside(g, m), view.wide(m)), m, view.step[1], view.window[1])
    return _gradient_w_plainly(x, g, view)


def _gradient_w_plainly(x: Array, g: Array, view: _View) -> Array:
    inputs, outputs = x.shape[3] // view.groups, g.shape[3] // view.groups
    parts = _parts((view.groups, math.prod(view.window) * inputs, outputs), x.dtype)

    def work(part: int, images: slice) -> None:
        maps = g[images].reshape(-1, view.groups, outputs).transpose(1, 0, 2)  # (groups, pixels, O/groups)
        parts[part] += np.matmul(view.columns(x[images]).transpose(0, 2, 1), maps)

    run_blocks(work, len(x), view.taps * x.shape[3] * x.itemsize, parts=len(parts))
    return _total(parts).transpose(1, 0, 2).reshape(*view.window, inputs, g.shape[3])  # (g, k, O/g) -> (k, g, O/g)


class _Tiles(NamedTuple):
    """A convolution by tiles of m x m outputs; map pixel (0, 0) sees image pixels from `begin` on."""

    m: int
    r: int
    size: Pair
    begin: Pair

    @property
    def counts(self) -> Pair:
        """Tiles along each axis of a map."""
        return -(-self.size[0] // self.m), -(-self.size[1] // self.m)

    def bytes_each(self, channels: int, itemsize: int) -> int:
        """How much memory the transformed tiles of an image take."""
        return math.prod(self.counts) * (self.m + self.r - 1) ** 2 * channels * itemsize

    def transformed(self, x: Array, matrix: Array, begin: Pair) -> Array:
        """Return M d M' for all square tiles d, as many pixels wide as M has columns: (n * n, tiles, C)."""
        width, (down, across) = matrix.shape[1], self.counts
        seen = _surrounded(x, begin, ((down - 1) * self.m + width, (across - 1) * self.m + width))
        image, row, column, channel = seen.strides
        shape = (width, width, len(x), down, across, x.shape[3])
        strides = (row, column, image, self.m * row, self.m * column, channel)
        tiles = as_strided(seen, shape, strides, writeable=False).reshape(width, -1)  # the one copy
        return _both_sides(matrix, tiles).reshape(len(matrix) ** 2, -1, x.shape[3])


def _both_sides(matrix: Array, tiles: Array) -> Array:
    """Return M d M' for tiles that are laid out (row, column, all else)."""
    rows = np.matmul(matrix, tiles.reshape(matrix.shape[1], -1))
    return np.matmul(matrix, rows.reshape(len(matrix), matrix.shape[1], -1))


@one_blas_thread()  # for the filters as well: a thread that BLAS starts waits for more work on a core of its own
def _convolve_tiles(x: Array, w: Array, b: Array | None, clip: bool, tiles: _Tiles) -> Array:
    """Convolve by tiles, block by block: transform, products, transform."""
    m, (down, across) = tiles.m, tiles.counts
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
        _finish(part, b, clip)

    run_blocks(work, len(x), tiles.bytes_each(max(w.shape[2:]), x.itemsize))
    return y


@one_blas_thread()
def _gradient_w_tiles(x: Array, g: Array, tiles: _Tiles) -> Array:
    """Sum the products of transformed tiles of images and maps, in parts, and transform the sum."""
    output, taps, tile = (matrix.astype(x.dtype) for matrix in matrices(tiles.m, tiles.r))
    parts = _parts((len(tile) ** 2, x.shape[3], g.shape[3]), x.dtype)
    step = max(1, BLOCK_BYTES // max(1, parts[0, 0].nbytes))

    def work(part: int, images: slice) -> None:
        lefts = tiles.transformed(x[images], tile, tiles.begin)
        rights = tiles.transformed(g[images], np.ascontiguousarray(output.T), (0, 0))
        for first in range(0, len(lefts), step):  # a few products at a time: they are as large as the sum
            some = slice(first, first + step)
            parts[part, some] += np.matmul(lefts[some].transpose(0, 2, 1), rights[some])

    run_blocks(work, len(x), tiles.bytes_each(max(x.shape[3], g.shape[3]), x.itemsize), parts=len(parts))
    sums = _total(parts)
    return _both_sides(np.ascontiguousarray(taps.T), sums).reshape(tiles.r, tiles.r, *sums.shape[1:])


def _choose(images: int, size: Pair, w_shape: Sequence[int], how: Options, *, gradient: bool = False) -> int:
    """Return m where tiles of m x m outputs serve and are the cheapest way, else 0."""
    if how.stride != (1, 1) or how.dilation != (1, 1) or how.groups != 1:
        return 0
    shape = Shape(images, size[0], size[1], (w_shape[0], w_shape[1]), w_shape[2], w_shape[3])
    return choose_tile(shape, ARRAYS, gradient=gradient)


def _forward(x: Array, w: Array, b: Array | None, clip: bool, how: Options) -> Array:
    if is_product(x.shape[1:3], w.shape[:2], how):
        return _forward(as_pixel(x), as_tap(w), b, clip, Options())
    size = places(x.shape[1:3], w.shape[:2], how.stride, how.padding, how.dilation, "conv2d")
    m = _choose(len(x), size, w.shape, how)
    if m:
        return _convolve_tiles(x, w, b, clip, _Tiles(m, w.shape[0], size, (-how.padding[0][0], -how.padding[1][0])))
    return _convolve(x, w, b, clip, _view(size, w.shape[:2], how))


def _floats(x: Array, w: Array, b: Array | None = None, **options: Any) -> bool:
    """Tell whether the arrays are floats of one width: the result is of the first one's dtype."""
    return bool(x.dtype.kind == "f" and x.dtype == w.dtype and (b is None or b.dtype == x.dtype))


@conv2d.kernel("numpy", when=_floats, error=TILED_ERROR)
def _conv2d(x: Array, w: Array, b: Array | None, **options: Any) -> Array:
    """Return the convolution, block by block."""
    return _forward(x, w, b, False, Options(**options))


@conv2d_relu.kernel("numpy", when=_floats, error=TILED_ERROR)
def _conv2d_relu(x: Array, w: Array, b: Array | None, **options: Any) -> Array:
    """Return ReLU of the convolution, block by block."""
    return _forward(x, w, b, True, Options(**options))


@conv2d_grad_x.kernel("numpy", when=_floats, error=TILED_ERROR)
def _conv2d_grad_x(g: Array, w: Array, *, size: Pair, **options: Any) -> Array:
    """Return the adjoint in x: for stride 1 a convolution with the turned filters, else windows added up."""
    how, window = Options(**options), w.shape[:2]
    if is_product(size, window, how):
        return _conv2d_grad_x(g, as_tap(w), size=(1, 1)).reshape(len(g), *size, -1)
    if how.stride == (1, 1) and how.groups == 1:
        turned = w[::-1, ::-1].swapaxes(2, 3)  # (kh, kw, C, O) -> (kh, kw, O, C)
        before = [p - (k - 1) * d for (p, _), k, d in zip(how.padding, window, how.dilation, strict=True)]
        begin = before[0], before[1]
        m = _choose(len(g), size, turned.shape, how)
        if m:
            return _convolve_tiles(g, turned, None, False, _Tiles(m, window[0], size, begin))
        return _convolve(g, turned, None, False, _View(size, window, (1, 1), begin, how.dilation, 1))
    x = np.empty((g.shape[0], *size, w.shape[2] * how.groups), g.dtype)

    def work(_: int, images: slice) -> None:
        x[images] = conv2d_grad_x.forward(np, g[images], w, size=size, **options)

    run_blocks(work, len(g), math.prod((*g.shape[1:3], *window, x.shape[3])) * g.itemsize)
    return x


@conv2d_grad_w.kernel("numpy", when=_floats, error=TILED_ERROR)
def _conv2d_grad_w(x: Array, g: Array, *, window: Pair, **options: Any) -> Array:
    """Return the adjoint in w, summed over the blocks in their order."""
    how = Options(**options)
    if is_product(x.shape[1:3], window, how):
        return _conv2d_grad_w(as_pixel(x), g, window=(1, 1)).reshape(*window, x.shape[3], -1)
    m = _choose(len(x), g.shape[1:3], (*window, x.shape[3], g.shape[3]), how, gradient=True)
    if m:
        begin = -how.padding[0][0], -how.padding[1][0]
        return _gradient_w_tiles(x, g, _Tiles(m, window[0], g.shape[1:3], begin))
    return _gradient_w(x, g, _view(g.shape[1:3], window, how))
