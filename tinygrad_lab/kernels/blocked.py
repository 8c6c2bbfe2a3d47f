"""Convolution and max-pooling in NumPy, a few images at a time so that their windows stay in the cache.

The windows of a whole batch take kh * kw times the memory of its images. A block's worth takes about a megabyte, is
multiplied while it is in the cache, and is forgotten. The arithmetic of a convolution is that of the reference
forward, block by block, in several threads; sums over blocks go in their order, so that the threads leave no trace.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.blas import one_blas_thread
from tinygrad_lab.kernels.threads import run
from tinygrad_lab.ops.convolution import NO_PADDING, conv2d, conv2d_grad_w, conv2d_grad_x, conv2d_relu
from tinygrad_lab.ops.pooling import max_pool2d
from tinygrad_lab.ops.windows import Padding, Pair, places

BLOCK_BYTES = 1 << 20  # of windows at a time: what an L2 cache holds


def _run(work: Callable[[int, slice], None], images: int, windows: tuple[int, ...], itemsize: int) -> None:
    """Call work(block, images) for blocks of images whose windows, of a given shape an image, take BLOCK_BYTES."""
    size = max(1, BLOCK_BYTES // max(1, math.prod(windows) * itemsize))

    def some(first: int, last: int) -> None:
        for block in range(first, last):
            work(block, slice(block * size, (block + 1) * size))

    with one_blas_thread():
        run(some, (), -(-images // size))


def _floats(x: Array, y: Array, *more: Any, **options: Any) -> bool:
    """Tell whether both arrays are floats of one width: the result is of the first one's dtype."""
    return bool(x.dtype.kind == "f" and x.dtype == y.dtype)


def _map_size(x: Array, w: Array, options: dict[str, Any]) -> Pair:
    padding, dilation = options.get("padding", NO_PADDING), options.get("dilation", (1, 1))
    return places(x.shape[1:3], w.shape[:2], options.get("stride", (1, 1)), padding, dilation, "conv2d")


def _forward(x: Array, w: Array, b: Array | None, relu: bool, options: dict[str, Any]) -> Array:
    size = _map_size(x, w, options)
    y = np.empty((x.shape[0], *size, w.shape[3]), x.dtype)

    def work(block: int, images: slice) -> None:
        y[images] = conv2d.forward(np, x[images], w, b, **options)
        if relu:
            np.maximum(y[images], 0, out=y[images])

    _run(work, len(x), (*size, *w.shape[:2], x.shape[3]), x.itemsize)
    return y


@conv2d.kernel("numpy", when=_floats, error=1e-5)
def _conv2d(x: Array, w: Array, b: Array | None, **options: Any) -> Array:
    """Return the convolution, block by block."""
    return _forward(x, w, b, False, options)


@conv2d_relu.kernel("numpy", when=_floats, error=1e-5)
def _conv2d_relu(x: Array, w: Array, b: Array | None, **options: Any) -> Array:
    """Return ReLU of the convolution, block by block."""
    return _forward(x, w, b, True, options)


@conv2d_grad_x.kernel("numpy", when=_floats, error=1e-5)
def _conv2d_grad_x(g: Array, w: Array, *, size: Pair, **options: Any) -> Array:
    """Return the adjoint in x, block by block."""
    channels = w.shape[2] * options.get("groups", 1)
    x = np.empty((g.shape[0], *size, channels), g.dtype)

    def work(block: int, images: slice) -> None:
        x[images] = conv2d_grad_x.forward(np, g[images], w, size=size, **options)

    _run(work, len(g), (*g.shape[1:3], *w.shape[:2], channels), g.itemsize)
    return x


@conv2d_grad_w.kernel("numpy", when=_floats, error=1e-5)
def _conv2d_grad_w(x: Array, g: Array, *, window: Pair, **options: Any) -> Array:
    """Return the adjoint in w, summed over the blocks in their order."""
    parts: dict[int, Array] = {}

    def work(block: int, images: slice) -> None:
        parts[block] = conv2d_grad_w.forward(np, x[images], g[images], window=window, **options)

    _run(work, len(g), (*g.shape[1:3], *window, x.shape[3]), g.itemsize)
    w = np.zeros((*window, x.shape[3] // options.get("groups", 1), g.shape[3]), g.dtype)
    for block in sorted(parts):
        w += parts[block]
    return w


@max_pool2d.kernel("numpy", when=lambda x, *, window, stride, padding: window[0] * window[1] <= 256)
def _max_pool2d(x: Array, *, window: Pair, stride: Pair, padding: Padding) -> tuple[Array, Array]:
    """Return each window's maximum and its place: one comparison of whole maps for each position in the window."""
    ho, wo = places(x.shape[1:3], window, stride, padding, who="max_pool2d")
    padded = np.pad(x, ((0, 0), *padding, (0, 0)), constant_values=-np.inf)
    out, index = None, np.zeros((x.shape[0], ho, wo, x.shape[3]), np.uint8)
    for i in range(window[0]):
        for j in range(window[1]):
            rows = slice(i, i + (ho - 1) * stride[0] + 1, stride[0])
            columns = slice(j, j + (wo - 1) * stride[1] + 1, stride[1])
            candidate = padded[:, rows, columns]
            if out is None:
                out = candidate.copy()
                continue
            better = (candidate > out) | (np.isnan(candidate) & ~np.isnan(out))  # the first maximum stays, NaN wins
            np.copyto(out, candidate, where=better)
            index[better] = i * window[1] + j
    return out, index
