"""Convolution and its gradients by compiled kernels: which way for which arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.arrays import Options, as_pixel, as_tap, holds_float32, is_product, plain
from tinygrad_lab.kernels.cost_model import Shape, choose_neighbours, choose_tile
from tinygrad_lab.kernels.neighbours import beside, gather, widen
from tinygrad_lab.kernels.numba import convolution_direct as direct
from tinygrad_lab.kernels.numba import convolution_winograd as tiles
from tinygrad_lab.ops.convolution import conv2d, conv2d_grad_w, conv2d_grad_x, conv2d_relu
from tinygrad_lab.ops.windows import Pair, places

ERROR = 2e-4  # of tiles of 8 x 8 with some hundred channels; the direct way keeps within 1e-5


def _takes(x: Array, w: Array, b: Array | None = None, **options: Any) -> bool:
    return holds_float32(x, w) and (b is None or holds_float32(b))


def _tile(images: int, size: Sequence[int], w_shape: Sequence[int], how: Options, *, gradient: bool = False) -> int:
    """Return m where tiles of m x m outputs serve and are the cheapest way, else 0."""
    if how.stride != (1, 1) or how.dilation != (1, 1) or how.groups != 1:
        return 0
    return choose_tile(
        Shape(images, size[0], size[1], (w_shape[0], w_shape[1]), w_shape[2], w_shape[3]), gradient=gradient
    )


def _neighbours(images: int, size: Sequence[int], w_shape: Sequence[int], how: Options) -> int:
    """Return how many neighbouring outputs are best computed at once."""
    if how.dilation[1] != 1 or how.groups != 1 or not all(size):
        return 1
    shape = Shape(images, size[0], size[1], (w_shape[0], w_shape[1]), w_shape[2], w_shape[3])
    return choose_neighbours(shape, stride=how.stride[1])


def _direct(x: Array, w: Array, b: Array | None, clip: bool, size: Pair, how: Options) -> Array:
    """Convolve the direct way, some neighbours at once."""
    m = _neighbours(len(x), size, w.shape, how)
    if m == 1:
        return direct.forward(x, w, b, clip, size, how)
    wide, (down, across) = how._replace(stride=(how.stride[0], m * how.stride[1])), size
    bias = None if b is None else np.tile(b, m)
    y = direct.forward(x, widen(w, m, how.stride[1]), bias, clip, (down, across // m), wide)
    return y.reshape(len(x), down, across, w.shape[3])  # (N, H, W/m, m*O) -> (N, H, W, O)


def _forward(x: Array, w: Array, b: Array | None, clip: bool, how: Options) -> Array:
    x, w = plain(x), plain(w)
    size = places(x.shape[1:3], w.shape[:2], how.stride, how.padding, how.dilation, "conv2d")
    if is_product(x.shape[1:3], w.shape[:2], how):
        return direct.forward(as_pixel(x), as_tap(w), b, clip, (1, 1), Options())
    m = _tile(x.shape[0], size, w.shape, how)
    if m:
        return tiles.forward(x, w, b, clip, size, (-how.padding[0][0], -how.padding[1][0]), m)
    return _direct(x, w, b, clip, size, how)


@conv2d.kernel("numba", when=_takes, error=ERROR)
def _conv2d(x: Array, w: Array, b: Array | None, **options: Any) -> Array:
    """Convolve images with filters and add a bias."""
    return _forward(x, w, b, False, Options(**options))


@conv2d_relu.kernel("numba", when=_takes, error=ERROR)
def _conv2d_relu(x: Array, w: Array, b: Array | None, **options: Any) -> Array:
    """Convolve images with filters, add a bias, and put 0 for what is not positive."""
    return _forward(x, w, b, True, Options(**options))


@conv2d_grad_x.kernel("numba", when=_takes, error=ERROR)
def _conv2d_grad_x(g: Array, w: Array, *, size: Pair, **options: Any) -> Array:
    """Return the adjoint in x: for stride 1 a convolution with the turned filters."""
    g, w, how = plain(g), plain(w), Options(**options)
    if is_product(size, w.shape[:2], how):
        pixels = direct.gradient_x(g, as_tap(w), (1, 1), Options())
        return pixels.reshape(len(g), *size, -1)  # (N, 1, 1, H*W*C) -> (N, H, W, C)
    m = _tile(g.shape[0], size, (*w.shape[:2], w.shape[3], w.shape[2]), how)
    if m:
        begin = how.padding[0][0] - w.shape[0] + 1, how.padding[1][0] - w.shape[1] + 1
        return tiles.forward(g, w, None, False, size, begin, m, flipped=True)
    turned_shape = (*w.shape[:2], w.shape[3], w.shape[2])
    if how.stride == how.dilation == (1, 1) and _neighbours(len(g), size, turned_shape, how) > 1:
        turned = np.ascontiguousarray(w[::-1, ::-1].swapaxes(2, 3))  # (kh, kw, C, O) -> (kh, kw, O, C)
        sides = [(k - 1 - before, k - 1 - after) for k, (before, after) in zip(w.shape, how.padding, strict=False)]
        return _direct(g, turned, None, False, size, how._replace(padding=(sides[0], sides[1])))
    return direct.gradient_x(g, w, size, how)


@conv2d_grad_w.kernel("numba", when=_takes, error=ERROR)
def _conv2d_grad_w(x: Array, g: Array, *, window: Pair, **options: Any) -> Array:
    """Return the adjoint in w."""
    x, g, how = plain(x), plain(g), Options(**options)
    if is_product(x.shape[1:3], window, how):
        return direct.gradient_w(as_pixel(x), g, (1, 1), Options()).reshape(*window, x.shape[3], g.shape[3])
    m = _tile(x.shape[0], g.shape[1:3], (*window, x.shape[3], g.shape[3]), how, gradient=True)
    if m:
        return tiles.gradient_w(x, g, window[0], (-how.padding[0][0], -how.padding[1][0]), m)
    m = _neighbours(len(x), g.shape[1:3], (*window, x.shape[3], g.shape[3]), how)
    if m == 1:
        return direct.gradient_w(x, g, window, how)
    wide, step = (window[0], window[1] + (m - 1) * how.stride[1]), how.stride[1]
    return gather(
        direct.gradient_w(x, beside(g, m), wide, how._replace(stride=(how.stride[0], m * step))), m, step, window[1]
    )
