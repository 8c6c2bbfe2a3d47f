"""Convolution and max-pooling in NumPy, over a few images at a time so that their windows stay in the cache.

The windows of a whole batch take kh * kw times the memory of its images. A block's worth takes about a megabyte, is
multiplied while it is in the cache, and is forgotten. The arithmetic of a convolution is that of the reference
forward, block by block; sums over blocks go in their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.ops.convolution import conv2d, conv2d_grad_w, conv2d_grad_x, conv2d_relu
from tinygrad_lab.ops.pooling import max_pool2d
from tinygrad_lab.ops.windows import Padding, Pair, places

BLOCK_BYTES = 1 << 20  # of windows at a time: what an L2 cache holds


def _blocks(images: int, windows: tuple[int, ...], itemsize: int) -> Iterator[slice]:
    """Yield slices of a batch whose windows, of a given shape for each image, take about BLOCK_BYTES."""
    size = max(1, BLOCK_BYTES // max(1, int(np.prod(windows)) * itemsize))
    return (slice(start, start + size) for start in range(0, images, size))


def _map_size(x: Array, w: Array, options: dict[str, Any]) -> Pair:
    padding, dilation = options.get("padding", ((0, 0), (0, 0))), options.get("dilation", (1, 1))
    return places(x.shape[1:3], w.shape[:2], options.get("stride", (1, 1)), padding, dilation, "conv2d")


def _forward(x: Array, w: Array, b: Array | None, relu: bool, options: dict[str, Any]) -> Array:
    size = _map_size(x, w, options)
    y = np.empty((x.shape[0], *size, w.shape[3]), x.dtype)
    for block in _blocks(len(x), (*size, *w.shape[:2], x.shape[3]), x.itemsize):
        y[block] = conv2d.forward(np, x[block], w, b, **options)
        if relu:
            np.maximum(y[block], 0, out=y[block])
    return y


@conv2d.kernel("numpy", error=1e-5)
def _conv2d(x: Array, w: Array, b: Array | None, **options: Any) -> Array:
    """Return the convolution, block by block."""
    return _forward(x, w, b, False, options)


@conv2d_relu.kernel("numpy", error=1e-5)
def _conv2d_relu(x: Array, w: Array, b: Array | None, **options: Any) -> Array:
    """Return ReLU of the convolution, block by block."""
    return _forward(x, w, b, True, options)


@conv2d_grad_x.kernel("numpy", error=1e-5)
def _conv2d_grad_x(g: Array, w: Array, *, size: Pair, **options: Any) -> Array:
    """Return the adjoint in x, block by block."""
    channels = w.shape[2] * options.get("groups", 1)
    x = np.empty((g.shape[0], *size, channels), g.dtype)
    for block in _blocks(len(g), (*g.shape[1:3], *w.shape[:2], channels), g.itemsize):
        x[block] = conv2d_grad_x.forward(np, g[block], w, size=size, **options)
    return x


@conv2d_grad_w.kernel("numpy", error=1e-5)
def _conv2d_grad_w(x: Array, g: Array, *, window: Pair, **options: Any) -> Array:
    """Return the adjoint in w, summed over the blocks in their order."""
    w = np.zeros((*window, x.shape[3] // options.get("groups", 1), g.shape[3]), g.dtype)
    for block in _blocks(len(g), (*g.shape[1:3], *window, x.shape[3]), g.itemsize):
        w += conv2d_grad_w.forward(np, x[block], g[block], window=window, **options)
    return w


@max_pool2d.kernel("numpy")
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
