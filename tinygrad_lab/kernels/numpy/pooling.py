"""Max-pooling kernels in NumPy, which process whole maps at once, a few images at a time."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.numpy.blocks import run_blocks
from tinygrad_lab.kernels.numpy.pointwise import select
from tinygrad_lab.ops.pooling import first_inside, max_pool2d, max_pool2d_grad, max_pool2d_values
from tinygrad_lab.ops.windows import Padding, Pair, places


def _positions(images: Array, kernel_size: Pair, stride: Pair, size: Pair) -> Iterator[Array]:
    """Yield, for each position in the window, the padded images' pixels at that position of every window."""
    for i in range(kernel_size[0]):
        for j in range(kernel_size[1]):
            rows = slice(i, i + (size[0] - 1) * stride[0] + 1, stride[0])
            yield images[:, rows, slice(j, j + (size[1] - 1) * stride[1] + 1, stride[1])]


def _along(array: Array, axis: int, kernel_size: int, stride: int, size: int) -> Iterator[Array]:
    """Yield, for each position in the window along one axis, the elements at that position of every window."""
    for i in range(kernel_size):
        yield array[(slice(None),) * axis + (slice(i, i + (size - 1) * stride + 1, stride),)]


def _first(others: list[Array]) -> Array:
    """Return, elementwise, the number of the first mask that is false, as uint8."""
    return _least((np.uint8(k), other) for k, other in enumerate(others))


def _least(candidates: Iterable[tuple[Any, Array]]) -> Array:
    """Return the elementwise minimum of candidates in uint8; a candidate counts as 255 where its mask is true."""
    return functools.reduce(np.minimum, (np.negative(other.view(np.uint8)) | number for number, other in candidates))


def _padded(images: Array, padding: Padding) -> Array:
    """Return images padded with minus infinity, which never wins over a pixel."""
    if padding == ((0, 0), (0, 0)):
        return images
    return np.pad(images, ((0, 0), *padding, (0, 0)), constant_values=-np.inf)


def _largest(columns: Iterable[Array], out: Array) -> None:
    """Fill `out` with the maximum over the columns of windows that were reduced to one row.

    The reduction over rows comes first, because whole rows are contiguous in memory.
    """
    first, *others = columns
    out[...] = first
    for column in others:
        np.maximum(out, column, out=out)


def _pools(x: Array, *, kernel_size: Pair, **options: Any) -> bool:
    return bool(x.dtype.kind == "f" and kernel_size[0] * kernel_size[1] <= 256 and kernel_size[1] < 256)


@max_pool2d.kernel("numpy", when=_pools)
def _max_pool2d(x: Array, *, kernel_size: Pair, stride: Pair, padding: Padding) -> tuple[Array, Array]:
    """Return each window's maximum and its index: that of the first maximum, or of the first NaN."""
    size = places(x.shape[1:3], kernel_size, stride, padding, who="max_pool2d")
    out = np.empty((len(x), *size, x.shape[3]), x.dtype)
    index = np.zeros(out.shape, np.uint8)
    inside = first_inside(np, x, kernel_size=kernel_size, stride=stride, padding=padding)

    def work(_: int, images: slice) -> None:
        seen, best, place = _padded(x[images], padding), out[images], index[images]
        rows = list(_along(seen, 1, kernel_size[0], stride[0], size[0]))
        tall = functools.reduce(np.maximum, rows)
        number = _first([row != tall for row in rows]) * np.uint8(kernel_size[1])
        columns = [np.ascontiguousarray(c) for c in _along(tall, 2, kernel_size[1], stride[1], size[1])]
        _largest(columns, best)
        numbers = _along(number, 2, kernel_size[1], stride[1], size[1])
        place[...] = _least((n + np.uint8(j), c != best) for j, (n, c) in enumerate(zip(numbers, columns, strict=True)))
        lost = np.isnan(best)
        if lost.any():
            maps = _positions(seen, kernel_size, stride, size)
            np.copyto(place, _first([~np.isnan(candidate) for candidate in maps]), where=lost)
        if padding != ((0, 0), (0, 0)):
            np.copyto(place, inside, where=best == -np.inf)

    run_blocks(work, len(x), x[:1].nbytes // 2)
    return out, index


@max_pool2d_values.kernel("numpy", when=_pools)
def _max_pool2d_values(x: Array, *, kernel_size: Pair, stride: Pair, padding: Padding) -> Array:
    size = places(x.shape[1:3], kernel_size, stride, padding, who="max_pool2d")
    out = np.empty((len(x), *size, x.shape[3]), x.dtype)

    def work(_: int, images: slice) -> None:
        tall = functools.reduce(np.maximum, _along(_padded(x[images], padding), 1, kernel_size[0], stride[0], size[0]))
        _largest(_along(tall, 2, kernel_size[1], stride[1], size[1]), out[images])

    run_blocks(work, len(x), x[:1].nbytes // 2)
    return out


@max_pool2d_grad.kernel("numpy", when=lambda g, index, **options: bool(g.dtype.kind == "f"))
def _max_pool2d_grad(g: Array, index: Array, *, size: Pair, kernel_size: Pair, stride: Pair, padding: Padding) -> Array:
    """Return zeros with each window's cotangent added at its maximum."""
    (top, bottom), (left, right) = padding
    out = np.zeros((len(g), size[0] + top + bottom, size[1] + left + right, g.shape[3]), g.dtype)
    apart = stride[0] >= kernel_size[0] and stride[1] >= kernel_size[1]

    def work(_: int, images: slice) -> None:
        gradient, place = g[images], index[images]
        chosen = np.empty_like(gradient)
        for k, pixels in enumerate(_positions(out[images], kernel_size, stride, g.shape[1:3])):
            select(gradient, place == k, pixels if apart else chosen)
            if not apart:
                pixels += chosen

    run_blocks(work, len(g), out[:1].nbytes // 2)
    return np.ascontiguousarray(out[:, top : top + size[0], left : left + size[1]])
