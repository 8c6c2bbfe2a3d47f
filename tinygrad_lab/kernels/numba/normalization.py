"""Batch normalization by compiled kernels, which read the batch twice in each direction."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.arrays import are_channels, are_numbers, contiguous, holds_float32
from tinygrad_lab.kernels.threads import aligned, parallel_for
from tinygrad_lab.ops.normalization import (
    batch_norm,
    batch_norm_relu,
    blend,
    centered_sums,
    channel_affine,
    channel_affine_relu,
)

BLOCK_FLOATS = 1 << 13  # floats in a block: 32 KiB, an L1 cache
MOST_ROWS = 512  # rows that are summed in single precision


def _takes(x: Any, *channels: Any, eps: float = 0.0) -> bool:
    """Return whether these are a batch and per-channel values."""
    return holds_float32(x, *channels) and are_channels(x, *channels) and are_numbers(eps)


def _takes_two(g: Any, x: Any, *channels: Any) -> bool:
    """Return whether these are two batches of one shape and per-channel values."""
    return holds_float32(g) and _takes(x, *channels) and g.shape == x.shape


def _rows(array: Array) -> Array:
    return contiguous(array).reshape(-1, array.shape[-1])


def _blocks(x: Array) -> tuple[int, int]:
    """Return the rows of a block and the number of blocks."""
    rows = max(1, min(MOST_ROWS, BLOCK_FLOATS // x.shape[-1]))
    return rows, -(-(x.size // x.shape[-1]) // rows)


def _normalize(x: Array, scale: Array, shift: Array, eps: float, *, clip: bool) -> tuple[Array, Array, Array]:
    from tinygrad_lab.kernels.numba.loops import normalization

    rows, blocks = _blocks(x)
    means, squares = (np.empty((blocks, x.shape[-1]), np.float32) for _ in range(2))
    parallel_for(normalization.statistics, (_rows(x), rows, means, squares), blocks)
    count = x.size // x.shape[-1]
    counts = np.full((blocks, 1), rows, np.float64)
    counts[-1] = count - (blocks - 1) * rows
    mean = (means * counts).sum(axis=0) / count
    variance = (squares + counts * (means - mean) ** 2).sum(axis=0) / count
    mean, factor = mean.astype(np.float32), (scale / np.sqrt(variance + eps)).astype(np.float32)
    return _affine(x, mean, factor, shift, clip=clip), mean, variance.astype(np.float32)


@batch_norm.kernel("numba", min_size=BLOCK_FLOATS, when=_takes, error_bound=1e-5)
def _batch_norm(x: Array, scale: Array, shift: Array, *, eps: float) -> tuple[Array, Array, Array]:
    return _normalize(x, scale, shift, eps, clip=False)


@batch_norm_relu.kernel("numba", min_size=BLOCK_FLOATS, when=_takes, error_bound=1e-5)
def _batch_norm_relu(x: Array, scale: Array, shift: Array, *, eps: float) -> tuple[Array, Array, Array]:
    return _normalize(x, scale, shift, eps, clip=True)


def _affine(x: Array, mean: Array, factor: Array, shift: Array, *, clip: bool) -> Array:
    from tinygrad_lab.kernels.numba.loops import normalization

    rows, blocks = _blocks(x)
    out = aligned(x.shape)
    channels = contiguous(mean), contiguous(factor), contiguous(shift)
    parallel_for(normalization.channel_affine, (_rows(x), *channels, int(clip), rows, _rows(out)), blocks)
    return out


@channel_affine.kernel("numba", min_size=BLOCK_FLOATS, when=_takes, error_bound=1e-5)
def _channel_affine(x: Array, mean: Array, factor: Array, shift: Array) -> Array:
    return _affine(x, mean, factor, shift, clip=False)


@channel_affine_relu.kernel("numba", min_size=BLOCK_FLOATS, when=_takes, error_bound=1e-5)
def _channel_affine_relu(x: Array, mean: Array, factor: Array, shift: Array) -> Array:
    return _affine(x, mean, factor, shift, clip=True)


@centered_sums.kernel("numba", min_size=BLOCK_FLOATS, when=_takes_two, error_bound=1e-5)
def _centered_sums(g: Array, x: Array, mean: Array) -> tuple[Array, Array]:
    from tinygrad_lab.kernels.numba.loops import normalization

    rows, blocks = _blocks(x)
    sums = np.empty((2, blocks, x.shape[-1]), np.float32)
    parallel_for(normalization.centered_sums, (_rows(g), _rows(x), contiguous(mean), rows, sums[0], sums[1]), blocks)
    total, moment = sums.sum(axis=1, dtype=np.float64).astype(np.float32)
    return total, moment


@blend.kernel("numba", min_size=BLOCK_FLOATS, when=_takes_two, error_bound=1e-5)
def _blend(g: Array, x: Array, mean: Array, a: Array, b: Array, c: Array) -> Array:
    from tinygrad_lab.kernels.numba.loops import normalization

    rows, blocks = _blocks(x)
    out = aligned(x.shape)
    channels = [contiguous(v) for v in (mean, a, b, c)]
    parallel_for(normalization.blend, (_rows(g), _rows(x), *channels, rows, _rows(out)), blocks)
    return out
