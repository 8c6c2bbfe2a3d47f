"""Batch normalization and sums over channels on a GPU. Each step of a sum reduces a chunk of rows to one."""

from __future__ import annotations

from typing import Any

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.arrays import are_channels
from tinygrad_lab.kernels.cupy.launch import TYPES, contiguous, room, run, takes
from tinygrad_lab.ops.normalization import (
    batch_norm,
    batch_norm_relu,
    blend,
    centered_sums,
    channel_affine,
    channel_affine_relu,
)
from tinygrad_lab.ops.reductions import sum_axes

PER = 64  # rows that a thread adds up in a step


def _batches(x: Any, *channels: Any, eps: float = 0.0) -> bool:
    """Return whether these are a batch and per-channel values."""
    return takes(x, *channels) and are_channels(x, *channels)


def _two_batches(g: Any, x: Any, *channels: Any) -> bool:
    """Return whether these are two batches of one shape and per-channel values."""
    return takes(g, x) and g.shape == x.shape and _batches(x, *channels)


def _partial(rows: int, like: Array) -> Array:
    """Return an uninitialized array for the sums to which a step reduces `rows` rows: (chunks, C)."""
    return room((-(-rows // PER), like.shape[-1]), like, TYPES[like.dtype.name][2])


def _summed(sums: Array, like: Array) -> Array:
    """Return the sum over the rows that the first step left, in further steps: (chunks, C) -> (1, C)."""
    while sums.shape[0] > 1:
        rows, channels = sums.shape
        smaller = _partial(rows, like)
        run("channels", "sum_sums", like, smaller.size, sums, smaller, rows, channels, PER, smaller.size)
        sums = smaller
    return sums


def _as_numbers(sums: Array, like: Array, factor: float = 1.0) -> Array:
    """Return sums times a factor in the dtype of an array: (1, C) -> (C,)."""
    out = room((sums.shape[1],), like)
    run("channels", "finish", like, out.size, sums, out, factor, out.size)
    return out


def _sums_rows(x: Array, *, axes: tuple[int, ...], keepdims: bool = False) -> bool:
    return takes(x) and x.ndim > 1 and axes == tuple(range(x.ndim - 1))


@sum_axes.kernel("cupy", when=_sums_rows, error_bound=1e-5)
def _sum_axes(x: Array, *, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    channels = x.shape[-1]
    rows = x.size // channels
    sums = _partial(rows, x)
    run("channels", "sum_values", x, sums.size, contiguous(x), sums, rows, channels, PER, sums.size)
    out = _as_numbers(_summed(sums, x), x)
    return out.reshape((1,) * (x.ndim - 1) + (channels,)) if keepdims else out


@centered_sums.kernel("cupy", when=_two_batches, error_bound=1e-5)
def _centered_sums(g: Array, x: Array, mean: Array) -> tuple[Array, Array]:
    channels = x.shape[-1]
    rows = x.size // channels
    totals, moments = _partial(rows, x), _partial(rows, x)
    given = contiguous(g), contiguous(x), contiguous(mean)
    run("channels", "centered_sums", x, totals.size, *given, totals, moments, rows, channels, PER, totals.size)
    total, moment = (_as_numbers(_summed(sums, x), x) for sums in (totals, moments))
    return total, moment


def _statistics(x: Array) -> tuple[Array, Array]:
    """Return the mean of each channel and the sum of squared deviations from it: (1, C) each."""
    channels = x.shape[-1]
    count = rows = x.size // channels
    means, squares = _partial(rows, x), _partial(rows, x)
    run("channels", "chunk_statistics", x, means.size, x, means, squares, rows, channels, PER, means.size)
    size = PER  # elements in a chunk
    while means.shape[0] > 1:
        rows = means.shape[0]
        wider = _partial(rows, x), _partial(rows, x)
        numbers = rows, channels, PER, size, count, wider[0].size
        run("channels", "merge_statistics", x, wider[0].size, means, squares, *wider, *numbers)
        (means, squares), size = wider, size * PER
    return means, squares


def _normalize(x: Array, scale: Array, shift: Array, eps: float, *, clip: bool) -> tuple[Array, Array, Array]:
    x = contiguous(x)
    channels = x.shape[-1]
    means, squares = _statistics(x)
    out, per_element = room(x.shape, x), channels / x.size
    given = x, means, squares, contiguous(scale), contiguous(shift), out
    run("channels", "normalize", x, x.size, *given, per_element, float(eps), int(clip), channels, x.size)
    return out, _as_numbers(means, x), _as_numbers(squares, x, per_element)


@batch_norm.kernel("cupy", when=_batches, error_bound=1e-5)
def _batch_norm(x: Array, scale: Array, shift: Array, *, eps: float) -> tuple[Array, Array, Array]:
    return _normalize(x, scale, shift, eps, clip=False)


@batch_norm_relu.kernel("cupy", when=_batches, error_bound=1e-5)
def _batch_norm_relu(x: Array, scale: Array, shift: Array, *, eps: float) -> tuple[Array, Array, Array]:
    return _normalize(x, scale, shift, eps, clip=True)


def _affine(x: Array, mean: Array, factor: Array, shift: Array, *, clip: bool) -> Array:
    out = room(x.shape, x)
    given = [contiguous(a) for a in (x, mean, factor, shift)]
    run("channels", "channel_affine", x, x.size, *given, out, int(clip), x.shape[-1], x.size)
    return out


@channel_affine.kernel("cupy", when=_batches, error_bound=1e-5)
def _channel_affine(x: Array, mean: Array, factor: Array, shift: Array) -> Array:
    return _affine(x, mean, factor, shift, clip=False)


@channel_affine_relu.kernel("cupy", when=_batches, error_bound=1e-5)
def _channel_affine_relu(x: Array, mean: Array, factor: Array, shift: Array) -> Array:
    return _affine(x, mean, factor, shift, clip=True)


@blend.kernel("cupy", when=_two_batches, error_bound=1e-5)
def _blend(g: Array, x: Array, mean: Array, a: Array, b: Array, c: Array) -> Array:
    out = room(x.shape, x)
    given = [contiguous(v) for v in (g, x, mean, a, b, c)]
    run("channels", "blend", x, x.size, *given, out, x.shape[-1], x.size)
    return out
