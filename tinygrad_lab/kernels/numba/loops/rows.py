"""Cross entropies of rows of classes, and their gradients; blocks are `rows` rows each.

A row is read twice, for its maximum and for its exponentials, the second time from the cache.
"""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lab.kernels.numba.loops.jit import jit
from tinygrad_lab.kernels.numba.loops.memory import address
from tinygrad_lab.kernels.numba.loops.normalization import row_range
from tinygrad_lab.kernels.numba.loops.sums import (
    multiply_add,
    store_powers,
    sum_blended,
    sum_centered,
    sum_powers,
    sum_surprises,
)

ONE = np.float32(1)
WHOLE = np.int32(0x7FFFFFFF)


@jit
def in_order(bits):
    """Convert the bits of a float to an integer that orders like the float, or back."""
    return np.int32(bits ^ ((bits >> np.int32(31)) & WHOLE))


@jit
def peak_of(row):
    """Return the maximum of a row; integers are compared, because their vectorized maximum needs no care for NaN."""
    bits = row.view(np.int32)
    best = in_order(bits[0])
    for k in range(1, row.size):
        number = in_order(bits[k])
        best = number if number > best else best
    return np.int32(in_order(best)).view(np.float32)


@jit
def cross_entropy_of_labels(x, labels, smoothing, rows, out, first, last):
    """Store each row's -log softmax(x) at its label; with smoothing, blended with the mean of -log softmax(x)."""
    classes = x.shape[1]
    for block in range(first, last):
        begin, count = row_range(x, rows, block, block + 1)
        for i in range(begin, begin + count):
            row = x[i]
            peak = peak_of(row)
            level = np.float32(math.log(sum_powers(classes, address(row), peak)))
            loss = level - (row[labels[i]] - peak)
            if smoothing:
                mean = sum_centered(classes, address(row), peak) / np.float32(classes)
                loss = (ONE - smoothing) * loss + smoothing * (level - mean)
            out[i] = loss


@jit
def cross_entropy_of_shares(x, shares, smoothing, rows, out, first, last):
    """Store each row's -sum_k t_k log softmax(x)_k; a term with t = 0 is 0 for every x."""
    classes = x.shape[1]
    kept, even = ONE - smoothing, smoothing / np.float32(classes)
    for block in range(first, last):
        begin, count = row_range(x, rows, block, block + 1)
        for i in range(begin, begin + count):
            peak = peak_of(x[i])
            level = np.float32(math.log(sum_powers(classes, address(x[i]), peak)))
            out[i] = sum_surprises(classes, address(x[i]), address(shares[i]), peak, level, kept, even)


@jit
def gradient_of_labels(g, x, labels, smoothing, rows, out, first, last):
    """Store g (softmax(x) - t), where t is the smoothed one-hot label."""
    classes = x.shape[1]
    even = smoothing / np.float32(classes)
    for block in range(first, last):
        begin, count = row_range(x, rows, block, block + 1)
        for i in range(begin, begin + count):
            result, label = out[i], labels[i]
            per_total = ONE / store_powers(classes, address(x[i]), address(result), peak_of(x[i]))
            own = result[label] * per_total - even - (ONE - smoothing)
            for k in range(classes):
                result[k] = g[i] * multiply_add(result[k], per_total, -even)
            result[label] = g[i] * own


@jit
def gradient_of_shares(g, x, shares, smoothing, rows, out, first, last):
    """Store g (softmax(x) sum(t) - t)."""
    classes = x.shape[1]
    kept, even = ONE - smoothing, smoothing / np.float32(classes)
    for block in range(first, last):
        begin, count = row_range(x, rows, block, block + 1)
        for i in range(begin, begin + count):
            result, share = out[i], shares[i]
            total = store_powers(classes, address(x[i]), address(result), peak_of(x[i]))
            scale = sum_blended(classes, address(share), kept, even) / total
            for k in range(classes):
                result[k] = g[i] * multiply_add(result[k], scale, -multiply_add(share[k], kept, even))
