"""Elementwise kernels compiled by Numba: activations, dropout, and the sums of bias gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.arrays import contiguous, holds_float32
from tinygrad_lab.kernels.threads import aligned, parallel_for
from tinygrad_lab.ops.activation import add_relu, relu, relu_grad
from tinygrad_lab.ops.dropping import dropout
from tinygrad_lab.ops.reductions import sum_axes

MOST_ROWS = 256  # rows that are summed in single precision
LEAST = 1 << 12  # elements from which a launch pays off


def launch(kernel: Any, arguments: tuple[Any, ...], size: int) -> None:
    """Run a kernel of `loops.pointwise` over a number of elements."""
    from tinygrad_lab.kernels.numba.loops.pointwise import BLOCK

    parallel_for(kernel, arguments, -(-size // BLOCK))


def flat(array: Array) -> Array:
    """Return an array flattened to one axis."""
    return contiguous(array).reshape(-1)


@relu.kernel("numba", min_size=LEAST, when=holds_float32)
def _relu(x: Array) -> Array:
    from tinygrad_lab.kernels.numba.loops import pointwise

    out = aligned(x.shape)
    launch(pointwise.relu, (flat(x), flat(out)), x.size)
    return out


@add_relu.kernel("numba", min_size=LEAST, when=lambda x, y: holds_float32(x, y) and x.shape == y.shape)
def _add_relu(x: Array, y: Array) -> Array:
    from tinygrad_lab.kernels.numba.loops import pointwise

    out = aligned(x.shape)
    launch(pointwise.add_relu, (flat(x), flat(y), flat(out)), x.size)
    return out


@relu_grad.kernel("numba", min_size=LEAST, when=lambda g, y: holds_float32(g, y) and g.shape == y.shape)
def _relu_grad(g: Array, y: Array) -> Array:
    from tinygrad_lab.kernels.numba.loops import pointwise

    out = aligned(g.shape)
    launch(pointwise.relu_gradient, (flat(g), flat(y), flat(out)), g.size)
    return out


def _draws(x: Array, *, key: Any, rate: Any, shared: tuple[int, ...] = ()) -> bool:
    return holds_float32(x) and isinstance(key, int) and isinstance(rate, float) and 0 <= rate < 1 and shared == ()


@dropout.kernel("numba", min_size=LEAST, when=_draws)
def _dropout(x: Array, *, key: int, rate: float, shared: tuple[int, ...] = ()) -> Array:
    from tinygrad_lab.kernels.numba.loops import pointwise

    out = aligned(x.shape)
    numbers = np.uint64(key & (1 << 64) - 1), np.uint64(int(rate * 2**64)), np.float32(1.0 / (1.0 - rate))
    launch(pointwise.dropout, (flat(x), *numbers, flat(out)), x.size)
    return out


def _sums_rows(x: Array, *, axes: Any, keepdims: Any = False) -> bool:
    """Return whether the sum is over the axes right before the last: over all rows, or over each group of rows."""
    plain_options = isinstance(keepdims, bool) and isinstance(axes, tuple) and all(type(i) is int for i in axes)
    if not plain_options or not axes or not holds_float32(x):
        return False
    if axes[0] < 0 or axes != tuple(range(x.ndim - len(axes) - 1, x.ndim - 1)):
        return False
    return bool(axes[0] == 0 or math.prod(x.shape[i] for i in axes) <= MOST_ROWS)


@sum_axes.kernel("numba", min_size=LEAST, when=_sums_rows, error_bound=1e-5)
def _sum_axes(x: Array, *, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    """Sum blocks of rows in single precision, and the blocks' sums in double precision, in their order."""
    from tinygrad_lab.kernels.numba.loops import normalization

    channels, count = x.shape[-1], math.prod(x.shape[i] for i in axes)
    groups = x.size // (channels * count)
    rows = count if groups > 1 else MOST_ROWS
    blocks = groups if groups > 1 else -(-count // rows)
    sums = np.empty((blocks, channels), np.float32)
    parallel_for(normalization.sums, (contiguous(x).reshape(-1, channels), rows, sums), blocks)
    if groups == 1:
        sums = sums.sum(axis=0, dtype=np.float64).astype(np.float32)
    kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    return sums.reshape(kept if keepdims else tuple(n for i, n in enumerate(x.shape) if i not in axes))
