"""Pooling kernels compiled by Numba."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.arrays import contiguous, holds_float32
from tinygrad_lab.kernels.threads import aligned, parallel_for
from tinygrad_lab.ops.pooling import (
    max_pool2d,
    max_pool2d_grad,
    max_pool2d_take,
    max_pool2d_values,
    sum_pool2d,
    sum_pool2d_grad,
)
from tinygrad_lab.ops.windows import Padding, Pair, places

_NO_INDEX = np.empty((0, 0, 0, 0), np.uint8)


def _pools(x: Array, *, kernel_size: Pair, **options: Any) -> bool:
    return holds_float32(x) and kernel_size[0] * kernel_size[1] <= 256


def _follows(x: Array, index: Array, **options: Any) -> bool:
    return holds_float32(x) and index.dtype == np.uint8


def _map(x: Array, kernel_size: Pair, stride: Pair, padding: Padding, who: str) -> Array:
    """Return an uninitialized map for a pooling."""
    return aligned((x.shape[0], *places(x.shape[1:3], kernel_size, stride, padding, who=who), x.shape[3]))


def _before(padding: Padding) -> Pair:
    return padding[0][0], padding[1][0]


@max_pool2d.kernel("numba", when=_pools)
def _max_pool2d(x: Array, *, kernel_size: Pair, stride: Pair, padding: Padding) -> tuple[Array, Array]:
    from tinygrad_lab.kernels.numba.loops import pooling

    out = _map(x, kernel_size, stride, padding, "max_pool2d")
    index = aligned(out.shape, np.uint8)
    parallel_for(pooling.max_pool, (contiguous(x), out, index, kernel_size, stride, _before(padding)), len(x))
    return out, index


@max_pool2d_values.kernel("numba", when=_pools)
def _max_pool2d_values(x: Array, *, kernel_size: Pair, stride: Pair, padding: Padding) -> Array:
    from tinygrad_lab.kernels.numba.loops import pooling

    out = _map(x, kernel_size, stride, padding, "max_pool2d")
    parallel_for(pooling.max_pool, (contiguous(x), out, _NO_INDEX, kernel_size, stride, _before(padding)), len(x))
    return out


@max_pool2d_grad.kernel("numba", when=_follows)
def _max_pool2d_grad(g: Array, index: Array, *, size: Pair, kernel_size: Pair, stride: Pair, padding: Padding) -> Array:
    from tinygrad_lab.kernels.numba.loops import pooling

    out = aligned((len(g), *size, g.shape[3]))
    parallel_for(
        pooling.max_pool_gradient,
        (contiguous(g), contiguous(index), out, kernel_size, stride, _before(padding)),
        len(g),
    )
    return out


@max_pool2d_take.kernel("numba", when=_follows)
def _max_pool2d_take(x: Array, index: Array, *, kernel_size: Pair, stride: Pair, padding: Padding) -> Array:
    from tinygrad_lab.kernels.numba.loops import pooling

    out = aligned(index.shape)
    parallel_for(
        pooling.max_pool_take, (contiguous(x), contiguous(index), out, kernel_size, stride, _before(padding)), len(x)
    )
    return out


@sum_pool2d.kernel("numba", when=lambda x, **options: holds_float32(x), error_bound=1e-5)
def _sum_pool2d(x: Array, *, kernel_size: Pair, stride: Pair, padding: Padding) -> Array:
    from tinygrad_lab.kernels.numba.loops import pooling

    out = _map(x, kernel_size, stride, padding, "sum_pool2d")
    parallel_for(pooling.sum_pool, (contiguous(x), out, kernel_size, stride, _before(padding)), len(x))
    return out


@sum_pool2d_grad.kernel("numba", when=lambda g, **options: holds_float32(g), error_bound=1e-5)
def _sum_pool2d_grad(g: Array, *, size: Pair, kernel_size: Pair, stride: Pair, padding: Padding) -> Array:
    from tinygrad_lab.kernels.numba.loops import pooling

    out = aligned((len(g), *size, g.shape[3]))
    parallel_for(pooling.sum_pool_gradient, (contiguous(g), out, kernel_size, stride, _before(padding)), len(g))
    return out
