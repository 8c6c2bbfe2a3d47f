"""Direct convolution in NumPy (im2col), a few images at a time so that their windows stay in the cache.

The windows of a whole batch take kh * kw times the memory of its images. The windows of a block take at most two
megabytes (unless a single image needs more) and are multiplied while they are in the cache. Blocks run in several
threads, each with single-threaded BLAS. Sums over blocks are taken in the order of the blocks, so results do not depend
on the threads.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.arrays import Options, turned
from tinygrad_lab.kernels.numpy.blocks import finish, partial_sums, run_blocks, surrounded, total
from tinygrad_lab.ops.convolution import conv2d_grad_x
from tinygrad_lab.ops.windows import Pair


def _columns(x: Array, size: Pair, kernel_size: Pair, how: Options) -> Array:
    """Return the window of each pixel of the map: (groups, pixels, taps * C / groups)."""
    spans = [
        (n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(size, how.stride, kernel_size, how.dilation, strict=True)
    ]
    seen, per_group = surrounded(x, how.begin, spans), x.shape[3] // how.groups
    image, row, column, channel = seen.strides
    shape = (how.groups, len(x), *size, *kernel_size, per_group)
    steps = (row * how.stride[0], column * how.stride[1], row * how.dilation[0], column * how.dilation[1])
    view = as_strided(seen, shape, (per_group * channel, image, *steps, channel), writeable=False)
    return view.reshape(how.groups, len(x) * math.prod(size), math.prod(kernel_size) * per_group)  # the only copy


def _bytes_each(x: Array, size: Pair, kernel_size: Pair) -> int:
    """Return the bytes that the windows of an image take."""
    return math.prod((*size, *kernel_size, x.shape[3], x.itemsize))


def forward(x: Array, w: Array, b: Array | None, clip: bool, size: Pair, how: Options) -> Array:
    """Multiply the windows by the filters, block by block, add a bias, and apply ReLU if `clip`."""
    kernel_size, outputs = w.shape[:2], w.shape[3] // how.groups
    y = np.empty((len(x), *size, w.shape[3]), x.dtype)
    filters = w.reshape(-1, how.groups, outputs).transpose(1, 0, 2)  # (kh, kw, C/g, O) -> (g, kh*kw*C/g, O/g)

    def work(_: int, images: slice) -> None:
        columns, part = _columns(x[images], size, kernel_size, how), y[images]
        if how.groups == 1:
            np.matmul(columns[0], filters[0], out=part.reshape(-1, outputs))
        else:
            products = np.matmul(columns, filters)  # (groups, pixels, O/groups)
            part.reshape(-1, how.groups, outputs)[...] = products.transpose(1, 0, 2)
        finish(part, b, clip)

    run_blocks(work, len(x), _bytes_each(x, size, kernel_size))
    return y


def gradient_x(g: Array, w: Array, size: Pair, how: Options) -> Array:
    """Convolve the maps with the rotated filters for stride 1 and one group; otherwise add up windows by blocks."""
    kernel_size = w.shape[:2]
    if how.stride == (1, 1) and how.groups == 1:
        return forward(g, turned(w), None, False, size, how.turned(kernel_size))
    x = np.empty((len(g), *size, w.shape[2] * how.groups), g.dtype)

    def work(_: int, images: slice) -> None:
        x[images] = conv2d_grad_x.forward(np, g[images], w, size=size, **how._asdict())

    run_blocks(work, len(g), _bytes_each(x, g.shape[1:3], kernel_size))
    return x


def gradient_w(x: Array, g: Array, kernel_size: Pair, how: Options) -> Array:
    """Multiply the windows by the maps in parts, and sum the parts in their order."""
    size, inputs, outputs = g.shape[1:3], x.shape[3] // how.groups, g.shape[3] // how.groups
    parts = partial_sums((how.groups, math.prod(kernel_size) * inputs, outputs), x.dtype)

    def work(part: int, images: slice) -> None:
        maps = g[images].reshape(-1, how.groups, outputs).transpose(1, 0, 2)  # (groups, pixels, O/groups)
        parts[part] += np.matmul(_columns(x[images], size, kernel_size, how).transpose(0, 2, 1), maps)

    run_blocks(work, len(x), _bytes_each(x, size, kernel_size), parts=len(parts))
    return total(parts).transpose(1, 0, 2).reshape(*kernel_size, inputs, g.shape[3])  # (g, k, O/g) -> (k, g, O/g)
