"""Elementwise kernels in NumPy: the reference forward on blocks that stay in the cache, in several threads."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lab.backend import Array, is_array
from tinygrad_lab.kernels.arrays import are_channels, are_numbers
from tinygrad_lab.kernels.threads import parallel_for
from tinygrad_lab.ops.activation import add_relu, relu, relu_grad
from tinygrad_lab.ops.dropping import dropout
from tinygrad_lab.ops.normalization import (
    batch_norm,
    batch_norm_relu,
    blend,
    centered_sums,
    channel_affine,
    channel_affine_relu,
)

BLOCK = 1 << 18  # elements; smaller blocks mean more calls, between which threads wait for the interpreter
WIDTH = 1 << 10  # elements of a row: NumPy loops over rows, and a short row costs as much as a long one
LEAST = 1 << 16  # elements from which threads pay off
GOLDEN = 0x9E3779B97F4A7C15  # step between consecutive numbers; see tinygrad_lab.backend.random_bits


def alike(x: Array, *others: Array) -> bool:
    """Return whether these are contiguous, non-empty float arrays of one shape and dtype."""
    return all(is_array(a) for a in (x, *others)) and bool(
        x.size
        and x.dtype.kind == "f"
        and all(a.shape == x.shape and a.dtype == x.dtype and a.flags.c_contiguous for a in (x, *others))
    )


def by_blocks(work: Callable[[slice], None], length: int, block: int) -> None:
    """Call work on slices of `block` elements or rows."""

    def some(first: int, last: int) -> None:
        for k in range(first, last):
            work(slice(k * block, (k + 1) * block))

    parallel_for(some, (), -(-length // block))


def select(x: Array, mask: Array, out: Array) -> None:
    """Set out to x where the mask is true, else 0, by multiplying the bits by 1 or 0: much faster than np.where."""
    bits = np.dtype(f"i{x.itemsize}")
    np.multiply(x.view(bits), mask, out=out.view(bits))


@relu.kernel("numpy", min_size=LEAST, when=alike)
def _relu(x: Array) -> Array:
    source, out = x.reshape(-1), np.empty(x.size, x.dtype)
    by_blocks(lambda part: np.maximum(source[part], 0, out=out[part]), x.size, BLOCK)
    return out.reshape(x.shape)


@add_relu.kernel("numpy", min_size=LEAST, when=alike)
def _add_relu(x: Array, y: Array) -> Array:
    left, right, out = x.reshape(-1), y.reshape(-1), np.empty(x.size, x.dtype)

    def work(part: slice) -> None:
        np.add(left[part], right[part], out=out[part])
        np.maximum(out[part], 0, out=out[part])

    by_blocks(work, x.size, BLOCK)
    return out.reshape(x.shape)


@relu_grad.kernel("numpy", min_size=LEAST, when=alike)
def _relu_grad(g: Array, y: Array) -> Array:
    slopes, results, out = g.reshape(-1), y.reshape(-1), np.empty(g.size, g.dtype)
    by_blocks(lambda part: select(slopes[part], results[part] > 0, out[part]), g.size, BLOCK)
    return out.reshape(g.shape)


def _draws(x: Array, *, key: Any, rate: Any, shared: tuple[int, ...] = ()) -> bool:
    return alike(x) and isinstance(key, int) and isinstance(rate, float) and 0 <= rate < 1 and shared == ()


@dropout.kernel("numpy", min_size=LEAST, when=_draws)
def _dropout(x: Array, *, key: int, rate: float, shared: tuple[int, ...] = ()) -> Array:
    """Drop elements by blocks: the random number of element i + j is that of element i with the key j steps later."""
    source, out = x.reshape(-1), np.empty(x.size, x.dtype)

    def work(part: slice) -> None:
        out[part] = dropout.forward(np, source[part], key=key + part.start * GOLDEN, rate=rate)

    by_blocks(work, x.size, BLOCK)
    return out.reshape(x.shape)


def _channels(x: Array, *channels: Array, eps: float = 0.0) -> bool:
    """Return whether these are a batch and per-channel values, in a dtype wide enough for sums."""
    fit = alike(x) and x.itemsize > 2 and are_channels(x, *channels) and are_numbers(eps)
    return fit and all(a.dtype == x.dtype for a in channels)


def _two_channels(g: Array, x: Array, *channels: Array) -> bool:
    """Return whether these are two batches of one shape and per-channel values, in a dtype wide enough for sums."""
    return alike(x, g) and _channels(x, *channels)


class _Rows(NamedTuple):
    """A view of a batch as rows of several pixels each, as long as the number of pixels and WIDTH allow."""

    pixels: int
    shape: tuple[int, int]
    block: int

    def of(self, x: Array) -> Array:
        """Return an array viewed as these rows."""
        return x.reshape(self.shape)

    def repeated(self, *channels: Array) -> list[Array]:
        """Return per-channel values repeated to the length of a row."""
        return [np.tile(values, self.pixels) for values in channels]

    def summed(self, x: Array, sums: int, work: Callable[[slice, Array], None]) -> Array:
        """Return sums over the pixels of x, computed block by block and added in the order of the blocks: (sums, C)."""
        count, length = self.shape
        parts = np.empty((-(-count // self.block), sums, length), x.dtype)
        by_blocks(lambda part: work(part, parts[part.start // self.block]), count, self.block)
        total: Array = parts.reshape(len(parts), sums, self.pixels, -1).sum(axis=(0, 2), dtype=np.float64)
        return total


def _rows(x: Array) -> _Rows:
    """Return the view of a batch of images as rows."""
    channels = x.shape[-1]
    pixels = math.gcd(x.size // channels, 1 << max(0, (WIDTH // channels).bit_length() - 1))
    shape = x.size // (channels * pixels), channels * pixels
    return _Rows(pixels, shape, max(1, BLOCK // shape[1]))


def _affine(x: Array, mean: Array, factor: Array, shift: Array, *, clip: bool) -> Array:
    """Return (x - mean) * factor + shift, with ReLU if `clip`.

    The formula x * factor + (shift - mean * factor) needs one pass less, but cancels if the mean is large.
    """
    read, out = _rows(x), np.empty(x.shape, x.dtype)
    rows, target = read.of(x), read.of(out)
    mean, factor, shift = read.repeated(mean, factor, shift)

    def work(part: slice) -> None:
        np.subtract(rows[part], mean, out=target[part])
        target[part] *= factor
        target[part] += shift
        if clip:
            np.maximum(target[part], 0, out=target[part])

    by_blocks(work, len(rows), read.block)
    return out


@channel_affine.kernel("numpy", min_size=LEAST, when=_channels, error_bound=1e-5)
def _channel_affine(x: Array, mean: Array, factor: Array, shift: Array) -> Array:
    return _affine(x, mean, factor, shift, clip=False)


@channel_affine_relu.kernel("numpy", min_size=LEAST, when=_channels, error_bound=1e-5)
def _channel_affine_relu(x: Array, mean: Array, factor: Array, shift: Array) -> Array:
    return _affine(x, mean, factor, shift, clip=True)


def _normalize(x: Array, scale: Array, shift: Array, eps: float, *, clip: bool) -> tuple[Array, Array, Array]:
    read, count = _rows(x), x.size // x.shape[-1]
    rows = read.of(x)

    def add(part: slice, sums: Array) -> None:
        np.sum(rows[part], axis=0, out=sums[0])

    mean = (read.summed(x, 1, add)[0] / count).astype(x.dtype)
    (center,) = read.repeated(mean)

    def add_squares(part: slice, sums: Array) -> None:
        centered = rows[part] - center
        np.sum(np.square(centered, out=centered), axis=0, out=sums[0])

    variance = (read.summed(x, 1, add_squares)[0] / count).astype(x.dtype)
    factor = (scale / np.sqrt(variance + eps)).astype(x.dtype)
    return _affine(x, mean, factor, shift, clip=clip), mean, variance


@batch_norm.kernel("numpy", min_size=LEAST, when=_channels, error_bound=1e-5)
def _batch_norm(x: Array, scale: Array, shift: Array, *, eps: float) -> tuple[Array, Array, Array]:
    return _normalize(x, scale, shift, eps, clip=False)


@batch_norm_relu.kernel("numpy", min_size=LEAST, when=_channels, error_bound=1e-5)
def _batch_norm_relu(x: Array, scale: Array, shift: Array, *, eps: float) -> tuple[Array, Array, Array]:
    return _normalize(x, scale, shift, eps, clip=True)


@centered_sums.kernel("numpy", min_size=LEAST, when=_two_channels, error_bound=1e-5)
def _centered_sums(g: Array, x: Array, mean: Array) -> tuple[Array, Array]:
    read = _rows(x)
    slopes, rows, (center,) = read.of(g), read.of(x), read.repeated(mean)

    def add(part: slice, sums: Array) -> None:
        np.sum(slopes[part], axis=0, out=sums[0])
        centered = rows[part] - center
        centered *= slopes[part]
        np.sum(centered, axis=0, out=sums[1])

    total, moment = read.summed(x, 2, add).astype(x.dtype)
    return total, moment


@blend.kernel("numpy", min_size=LEAST, when=_two_channels, error_bound=1e-5)
def _blend(g: Array, x: Array, mean: Array, a: Array, b: Array, c: Array) -> Array:
    read, out = _rows(x), np.empty(g.shape, g.dtype)
    slopes, rows, target = read.of(g), read.of(x), read.of(out)
    mean, a, b, c = read.repeated(mean, a, b, c)

    def work(part: slice) -> None:
        np.subtract(rows[part], mean, out=target[part])
        target[part] *= b
        target[part] += slopes[part] * a
        target[part] += c

    by_blocks(work, len(rows), read.block)
    return out
