"""Element by element in NumPy: the reference forward on blocks that stay in the cache, in several threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.threads import run
from tinygrad_lab.ops.activation import relu, relu_grad
from tinygrad_lab.ops.dropping import dropout
from tinygrad_lab.ops.normalisation import batch_norm, blend, centered_sums, channel_affine

BLOCK = 1 << 15  # elements
LEAST = 1 << 16  # elements for which threads pay
GOLDEN = 0x9E3779B97F4A7C15  # from one number to the next; see tinygrad_lab.backend.random_bits


def _alike(x: Array, *others: Array) -> bool:
    """Tell whether these are arrays of floats of one shape, in one piece of memory each."""
    return bool(
        x.size
        and x.dtype.kind == "f"
        and all(a.shape == x.shape and a.dtype == x.dtype and a.flags.c_contiguous for a in (x, *others))
    )


def _by_blocks(work: Callable[[slice], None], length: int, block: int) -> None:
    """Call work on slices of `block` elements or rows."""

    def some(first: int, last: int) -> None:
        for k in range(first, last):
            work(slice(k * block, (k + 1) * block))

    run(some, (), -(-length // block))


def select(x: Array, mask: Array, out: Array) -> None:
    """Set out to x where the mask is true and to 0 elsewhere: bits times 1 or 0, several times as fast as np.where."""
    bits = np.dtype(f"i{x.itemsize}")
    np.multiply(x.view(bits), mask, out=out.view(bits))


@relu.kernel("numpy", least=LEAST, when=_alike)
def _relu(x: Array) -> Array:
    source, out = x.reshape(-1), np.empty(x.size, x.dtype)
    _by_blocks(lambda part: np.maximum(source[part], 0, out=out[part]), x.size, BLOCK)
    return out.reshape(x.shape)


@relu_grad.kernel("numpy", least=LEAST, when=_alike)
def _relu_grad(g: Array, y: Array) -> Array:
    slopes, results, out = g.reshape(-1), y.reshape(-1), np.empty(g.size, g.dtype)
    _by_blocks(lambda part: select(slopes[part], results[part] > 0, out[part]), g.size, BLOCK)
    return out.reshape(g.shape)


@dropout.kernel("numpy", least=LEAST, when=lambda x, *, key, rate, shared=(): _alike(x) and not shared)
def _dropout(x: Array, *, key: int, rate: float, shared: tuple[int, ...] = ()) -> Array:
    """The number of element i + j under a key is that of element i under the key that is j steps on."""
    source, out = x.reshape(-1), np.empty(x.size, x.dtype)

    def work(part: slice) -> None:
        out[part] = dropout.forward(np, source[part], key=key + part.start * GOLDEN, rate=rate)

    _by_blocks(work, x.size, BLOCK)
    return out.reshape(x.shape)


def _channels(*arrays: Array, eps: float = 0.0) -> bool:
    """Tell whether these are batches of one shape, and values for their channels."""
    x = max(arrays, key=lambda array: array.ndim)
    batches = [a for a in arrays if a.ndim > 1]
    return x.ndim > 1 and _alike(*batches) and all(a.shape == x.shape[-1:] for a in arrays if a.ndim <= 1)


def _rows(x: Array) -> tuple[Array, int]:
    """Return an array as rows of channels, and how many rows a block has."""
    return x.reshape(-1, x.shape[-1]), max(1, BLOCK // x.shape[-1])


def _affine(x: Array, mean: Array, factor: Array, shift: Array) -> Array:
    (rows, block), out = _rows(x), np.empty(x.shape, x.dtype)
    target = out.reshape(rows.shape)

    def work(part: slice) -> None:
        np.subtract(rows[part], mean, out=target[part])
        target[part] *= factor
        target[part] += shift

    _by_blocks(work, len(rows), block)
    return out


@channel_affine.kernel("numpy", least=LEAST, when=_channels, error=1e-5)
def _channel_affine(x: Array, mean: Array, factor: Array, shift: Array) -> Array:
    return _affine(x, mean, factor, shift)


def _summed(work: Callable[[slice, Array], None], x: Array, sums: int) -> Array:
    """Return some sums over the rows of x, gathered block by block and summed in their order: (sums, C)."""
    rows, block = _rows(x)
    parts = np.empty((-(-len(rows) // block), sums, x.shape[-1]), x.dtype)
    _by_blocks(lambda part: work(part, parts[part.start // block]), len(rows), block)
    total: Array = parts.sum(axis=0, dtype=np.float64)
    return total


@batch_norm.kernel("numpy", least=LEAST, when=_channels, error=1e-5)
def _batch_norm(x: Array, scale: Array, shift: Array, *, eps: float) -> tuple[Array, Array, Array]:
    rows, _ = _rows(x)

    def add(part: slice, sums: Array) -> None:
        np.sum(rows[part], axis=0, out=sums[0])

    mean = (_summed(add, x, 1)[0] / len(rows)).astype(x.dtype)

    def add_squares(part: slice, sums: Array) -> None:
        centered = rows[part] - mean
        np.sum(np.square(centered, out=centered), axis=0, out=sums[0])

    variance = (_summed(add_squares, x, 1)[0] / len(rows)).astype(x.dtype)
    return _affine(x, mean, (scale / np.sqrt(variance + eps)).astype(x.dtype), shift), mean, variance


@centered_sums.kernel("numpy", least=LEAST, when=_channels, error=1e-5)
def _centered_sums(g: Array, x: Array, mean: Array) -> tuple[Array, Array]:
    (slopes, _), (rows, _) = _rows(g), _rows(x)

    def add(part: slice, sums: Array) -> None:
        np.sum(slopes[part], axis=0, out=sums[0])
        centered = rows[part] - mean
        centered *= slopes[part]
        np.sum(centered, axis=0, out=sums[1])

    total, moment = _summed(add, x, 2).astype(x.dtype)
    return total, moment


@blend.kernel("numpy", least=LEAST, when=_channels, error=1e-5)
def _blend(g: Array, x: Array, mean: Array, a: Array, b: Array, c: Array) -> Array:
    (slopes, block), (rows, _), out = _rows(g), _rows(x), np.empty(g.shape, g.dtype)
    target = out.reshape(rows.shape)

    def work(part: slice) -> None:
        np.subtract(rows[part], mean, out=target[part])
        target[part] *= b
        target[part] += slopes[part] * a
        target[part] += c

    _by_blocks(work, len(rows), block)
    return out
