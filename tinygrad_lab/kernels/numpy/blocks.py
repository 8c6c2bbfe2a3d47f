"""Blocks of images that stay in the cache and are processed in several threads; sums over images in parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.blas import one_blas_thread
from tinygrad_lab.kernels.threads import parallel_for

BLOCK_BYTES = 1 << 21  # of windows: smaller blocks mean more calls, between which threads wait for the interpreter
FEWEST_BLOCKS = 4  # so that every thread gets some
PARTS, PART_BYTES = 8, 1 << 25  # parts of a sum (a fixed number fixes the order), and their memory


def run_blocks(work: Callable[[int, slice], None], images: int, bytes_each: int, *, parts: int = 0) -> None:
    """Call work(part, images) for blocks of images that take at most BLOCK_BYTES.

    The blocks are divided into `parts` parts; if `parts` is 0, each block is a part. One thread runs the blocks of a
    part in order.
    """
    size = max(1, min(BLOCK_BYTES // max(1, bytes_each), -(-images // FEWEST_BLOCKS)))
    blocks = -(-images // size)
    parts = min(parts, blocks) if parts else blocks

    def some(first: int, last: int) -> None:
        for part in range(first, last):
            for block in range(blocks * part // parts, blocks * (part + 1) // parts):
                work(part, slice(block * size, (block + 1) * size))

    with one_blas_thread():
        parallel_for(some, (), parts)


def surrounded(x: Array, begin: Sequence[int], size: Sequence[int]) -> Array:
    """Return the region of `size` pixels that starts at `begin` in each image, with zeros outside of the image."""
    _, height, width, _ = x.shape
    if tuple(begin) == (0, 0) and tuple(size) == (height, width):
        return np.ascontiguousarray(x)
    out = np.zeros((len(x), *size, x.shape[3]), x.dtype)
    source, target = [slice(None)], [slice(None)]
    for first, count, there in zip(begin, size, (height, width), strict=True):
        low = min(max(0, first), there)
        high = max(low, min(there, first + count))
        source.append(slice(low, high))
        target.append(slice(low - first, high - first) if high > low else slice(0, 0))
    out[tuple(target)] = x[tuple(source)]
    return out


def partial_sums(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return zeros for the parts of a sum: PARTS parts, or fewer, but at least 2, if they are large."""
    each = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
    return np.zeros((max(2, min(PARTS, PART_BYTES // each)), *shape), dtype)


def total(parts: Array) -> Array:
    """Return the sum of the parts in their order, stored in the first."""
    for part in parts[1:]:
        parts[0] += part
    total: Array = parts[0]
    return total


def finish(y: Array, b: Array | None, clip: bool) -> None:
    """Add a bias to results in place, and apply ReLU if `clip`."""
    if b is not None:
        y += b
    if clip:
        np.maximum(y, 0, out=y)
