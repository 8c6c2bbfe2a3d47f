"""Pooling kernels on a GPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.cupy.launch import MOST_ITEMS, contiguous, room, run, takes
from tinygrad_lab.ops.pooling import (
    max_pool2d,
    max_pool2d_grad,
    max_pool2d_take,
    max_pool2d_values,
    sum_pool2d,
    sum_pool2d_grad,
)
from tinygrad_lab.ops.windows import Padding, Pair, places

Ints = tuple[int, ...]


def _pools(x: Array, *, kernel_size: Pair, **options: Any) -> bool:
    return _sums(x, kernel_size=kernel_size, **options) and kernel_size[0] * kernel_size[1] <= 256


def _sums(x: Array, **options: Any) -> bool:
    return takes(x) and 4 * x.size < MOST_ITEMS  # a map with padding may be larger than its images


def _follows(x: Array, index: Array, **options: Any) -> bool:
    return takes(x) and index.size > 0 and index.dtype == np.uint8


def _goes_back(g: Array, *, size: Pair, **options: Any) -> bool:
    return takes(g) and len(g) * math.prod(size) * g.shape[3] < MOST_ITEMS


def _geometry(size: Ints, channels: int, out: Ints, kernel_size: Pair, stride: Pair, padding: Padding) -> Ints:
    """Return the arguments for a kernel's parameters GEOMETRY."""
    return (*size, channels, *out, *kernel_size, *stride, padding[0][0], padding[1][0])


def _map(x: Array, kernel_size: Pair, stride: Pair, padding: Padding, who: str) -> tuple[Array, Ints]:
    """Return an uninitialized map for a pooling, and the geometry."""
    size = places(x.shape[1:3], kernel_size, stride, padding, who=who)
    geometry = _geometry(x.shape[1:3], x.shape[3], size, kernel_size, stride, padding)
    return room((x.shape[0], *size, x.shape[3]), x), geometry


@max_pool2d.kernel("cupy", when=_pools)
def _max_pool2d(x: Array, *, kernel_size: Pair, stride: Pair, padding: Padding) -> tuple[Array, Array]:
    out, geometry = _map(x, kernel_size, stride, padding, "max_pool2d")
    index = room(out.shape, x, np.uint8)
    run("pooling", "max_pool", x, out.size, contiguous(x), out, index, out.size, *geometry)
    return out, index


@max_pool2d_values.kernel("cupy", when=_pools)
def _max_pool2d_values(x: Array, **options: Any) -> Array:
    return _max_pool2d(x, **options)[0]


@max_pool2d_grad.kernel(
    "cupy", when=lambda g, index, **how: _follows(g, index) and _goes_back(g, **how), error_bound=1e-5
)
def _max_pool2d_grad(g: Array, index: Array, *, size: Pair, kernel_size: Pair, stride: Pair, padding: Padding) -> Array:
    out = room((len(g), *size, g.shape[3]), g)
    geometry = _geometry(size, g.shape[3], g.shape[1:3], kernel_size, stride, padding)
    run("pooling", "max_pool_grad", g, out.size, contiguous(g), contiguous(index), out, out.size, *geometry)
    return out


@max_pool2d_take.kernel("cupy", when=_follows)
def _max_pool2d_take(x: Array, index: Array, *, kernel_size: Pair, stride: Pair, padding: Padding) -> Array:
    out = room(index.shape, x)
    geometry = _geometry(x.shape[1:3], x.shape[3], index.shape[1:3], kernel_size, stride, padding)
    run("pooling", "max_pool_take", x, out.size, contiguous(x), contiguous(index), out, out.size, *geometry)
    return out


@sum_pool2d.kernel("cupy", when=_sums, error_bound=1e-5)
def _sum_pool2d(x: Array, *, kernel_size: Pair, stride: Pair, padding: Padding) -> Array:
    out, geometry = _map(x, kernel_size, stride, padding, "sum_pool2d")
    run("pooling", "sum_pool", x, out.size, contiguous(x), out, out.size, *geometry)
    return out


@sum_pool2d_grad.kernel("cupy", when=_goes_back, error_bound=1e-5)
def _sum_pool2d_grad(g: Array, *, size: Pair, kernel_size: Pair, stride: Pair, padding: Padding) -> Array:
    out = room((len(g), *size, g.shape[3]), g)
    geometry = _geometry(size, g.shape[3], g.shape[1:3], kernel_size, stride, padding)
    run("pooling", "sum_pool_grad", g, out.size, contiguous(g), out, out.size, *geometry)
    return out
