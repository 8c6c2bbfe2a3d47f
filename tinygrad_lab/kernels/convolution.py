"""Convolution dispatch for every provider: choose the algorithm for the arguments.

If the only window is the whole image, the convolution is a matrix product. Otherwise it uses Winograd tiles (see
`winograd`) if `cost_model` finds them cheapest. In all other cases it multiplies directly on the image, possibly for
several neighboring outputs at once (see `neighbors`). A provider supplies the algorithms and the rates of their costs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.arrays import Options, as_pixel, as_tap, is_product, turned
from tinygrad_lab.kernels.cost_model import ConvolutionShape, Rates, choose_neighbors, choose_tile
from tinygrad_lab.kernels.neighbors import beside, gather, widen
from tinygrad_lab.ops.convolution import conv2d, conv2d_grad_w, conv2d_grad_x, conv2d_relu
from tinygrad_lab.ops.windows import Pair, places


class Direct(Protocol):
    """Direct convolution, for every stride, dilation and number of groups."""

    def forward(self, x: Array, w: Array, b: Array | None, clip: bool, size: Pair, how: Options) -> Array:
        """Convolve images with filters to maps of the given size, add a bias, and apply ReLU if `clip`."""

    def gradient_x(self, g: Array, w: Array, size: Pair, how: Options) -> Array:
        """Return the adjoint in x, for images of the given size."""

    def gradient_w(self, x: Array, g: Array, kernel_size: Pair, how: Options) -> Array:
        """Return the adjoint in w, for filters of the given size."""


class Tiles(Protocol):
    """Convolution by Winograd tiles of m x m outputs, for square windows, stride 1, no dilation and one group."""

    def forward(self, x: Array, w: Array, b: Array | None, clip: bool, size: Pair, how: Options, m: int) -> Array:
        """Convolve as `Direct.forward` does."""

    def gradient_x(self, g: Array, w: Array, size: Pair, how: Options, m: int) -> Array:
        """Return the adjoint in x."""

    def gradient_w(self, x: Array, g: Array, kernel_size: Pair, how: Options, m: int) -> Array:
        """Return the adjoint in w."""


class Ways(NamedTuple):
    """The algorithms of a provider: two modules of three functions each, and their costs."""

    direct: Direct
    tiles: Tiles
    rates: Rates

    def tile(self, shape: ConvolutionShape, how: Options, *, gradient: bool = False) -> int:
        """Return m if tiles of m x m outputs are possible and cheapest, else 0."""
        if (how.stride, how.dilation, how.groups) != ((1, 1), (1, 1), 1):
            return 0
        return choose_tile(shape, self.rates, gradient=gradient)

    def neighbors(self, shape: ConvolutionShape, how: Options) -> int:
        """Return the best number of neighboring outputs to compute at once."""
        if how.dilation[1] != 1 or how.groups != 1 or not (shape.out_height and shape.out_width):
            return 1
        return choose_neighbors(shape, self.rates, stride=how.stride[1])


def _forward(ways: Ways, x: Array, w: Array, b: Array | None, clip: bool, how: Options) -> Array:
    size = places(x.shape[1:3], w.shape[:2], how.stride, how.padding, how.dilation, "conv2d")
    if is_product(x.shape[1:3], w.shape[:2], how):
        return ways.direct.forward(as_pixel(x), as_tap(w), b, clip, (1, 1), Options())
    shape = ConvolutionShape(len(x), *size, w.shape[:2], w.shape[2], w.shape[3])
    if m := ways.tile(shape, how):
        return ways.tiles.forward(x, w, b, clip, size, how, m)
    return _side_by_side(ways, x, w, b, clip, size, how, ways.neighbors(shape, how))


def _side_by_side(
    ways: Ways, x: Array, w: Array, b: Array | None, clip: bool, size: Pair, how: Options, m: int
) -> Array:
    """Convolve directly, m neighboring outputs at once."""
    if m == 1:
        return ways.direct.forward(x, w, b, clip, size, how)
    step, (down, across) = how.stride[1], size
    wide, bias = how._replace(stride=(how.stride[0], m * step)), None if b is None else np.tile(b, m)
    y = ways.direct.forward(x, widen(w, m, step), bias, clip, (down, across // m), wide)
    return y.reshape(len(x), down, across, w.shape[3])  # (N, H, W/m, m*O) -> (N, H, W, O)


def _gradient_x(ways: Ways, g: Array, w: Array, size: Pair, how: Options) -> Array:
    if is_product(size, w.shape[:2], how):
        pixels = ways.direct.gradient_x(g, as_tap(w), (1, 1), Options())
        return pixels.reshape(len(g), *size, -1)  # (N, 1, 1, H*W*C) -> (N, H, W, C)
    shape = ConvolutionShape(len(g), *size, w.shape[:2], w.shape[3], w.shape[2])
    if m := ways.tile(shape, how):
        return ways.tiles.gradient_x(g, w, size, how, m)
    if how.stride == (1, 1) and (m := ways.neighbors(shape, how)) > 1:
        return _side_by_side(ways, g, turned(w), None, False, size, how.turned(w.shape[:2]), m)
    return ways.direct.gradient_x(g, w, size, how)


def _gradient_w(ways: Ways, x: Array, g: Array, kernel_size: Pair, how: Options) -> Array:
    if is_product(x.shape[1:3], kernel_size, how):
        return ways.direct.gradient_w(as_pixel(x), g, (1, 1), Options()).reshape(*kernel_size, x.shape[3], g.shape[3])
    size: Pair = g.shape[1:3]
    shape = ConvolutionShape(len(x), *size, kernel_size, x.shape[3], g.shape[3])
    if m := ways.tile(shape, how, gradient=True):
        return ways.tiles.gradient_w(x, g, kernel_size, how, m)
    m = ways.neighbors(shape, how)
    if m == 1:
        return ways.direct.gradient_w(x, g, kernel_size, how)
    step, columns = how.stride[1], kernel_size[1]
    wide = how._replace(stride=(how.stride[0], m * step))
    sums = ways.direct.gradient_w(x, beside(g, m), (kernel_size[0], columns + (m - 1) * step), wide)
    return gather(sums, m, step, columns)


def register(provider: str, ways: Ways, *, when: Callable[..., bool], error_bound: float) -> None:
    """Register a provider's kernels for convolution, with and without ReLU, and for its gradients."""

    @conv2d.kernel(provider, when=when, error_bound=error_bound)
    def convolve(x: Array, w: Array, b: Array | None, **options: Any) -> Array:
        return _forward(ways, x, w, b, False, Options(**options))

    @conv2d_relu.kernel(provider, when=when, error_bound=error_bound)
    def convolve_relu(x: Array, w: Array, b: Array | None, **options: Any) -> Array:
        return _forward(ways, x, w, b, True, Options(**options))

    @conv2d_grad_x.kernel(provider, when=when, error_bound=error_bound)
    def gradient_x(g: Array, w: Array, *, size: Pair, **options: Any) -> Array:
        return _gradient_x(ways, g, w, size, Options(**options))

    @conv2d_grad_w.kernel(provider, when=when, error_bound=error_bound)
    def gradient_w(x: Array, g: Array, *, kernel_size: Pair, **options: Any) -> Array:
        return _gradient_w(ways, x, g, kernel_size, Options(**options))
