"""Rows of classes: cross entropies and their gradients; blocks are `rows` rows each.

A row is read twice, for its peak and for its powers, the second time from the cache.
"""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lab.kernels.numba.loops.jit import as_written, jit
from tinygrad_lab.kernels.numba.loops.normalization import row_range

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
PER_BINARY_DIGIT, BINARY_DIGIT = np.float32(1 / math.log(2)), np.float32(math.log(2))
SMALLEST = np.float32(-87)  # e to a smaller power is taken as 0
C3, C4, C5, C6 = np.float32(1 / 6), np.float32(1 / 24), np.float32(1 / 120), np.float32(1 / 720)
WHOLE = np.int32(0x7FFFFFFF)


@jit
def plus(total, x):
    """Return a sum so far and one more; over a row they may be added in vectors of numbers."""
    return total + x


@as_written
def power(x):
    """Return e^x of a number that is not positive, NaN of NaN: 2^n e^r, |r| <= log(2) / 2, and e^r by its series."""
    held = x if x > SMALLEST else SMALLEST
    n = np.floor(held * PER_BINARY_DIGIT + HALF)
    r = x - n * BINARY_DIGIT
    series = ONE + r * (ONE + r * (HALF + r * (C3 + r * (C4 + r * (C5 + r * C6)))))
    scale = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)  # the bits of 2^n
    return ZERO if x < SMALLEST else series * scale


@as_written
def in_order(bits):
    """Return the bits of a float as a whole number, or such a number as bits: the order is that of the floats."""
    return np.int32(bits ^ ((bits >> np.int32(31)) & WHOLE))


@as_written
def peak_of(row):
    """Return the largest of a row; whole numbers are compared, for vectors of these need no care for NaN."""
    bits = row.view(np.int32)
    best = in_order(bits[0])
    for k in range(1, row.size):
        number = in_order(bits[k])
        best = number if number > best else best
    return np.int32(in_order(best)).view(np.float32)


@as_written
def sum_of_powers(row, peak):
    """Return the sum of e^(x - peak)."""
    total = ZERO
    for k in range(row.size):
        total = plus(total, power(row[k] - peak))
    return total


@as_written
def powers(row, peak, out):
    """Store e^(x - peak), and return the sum."""
    for k in range(row.size):
        out[k] = power(row[k] - peak)
    total = ZERO
    for k in range(row.size):
        total = plus(total, out[k])
    return total


@as_written
def cross_entropy_of_labels(x, labels, smoothing, rows, out, first, last):
    """Store each row's -log softmax(x) at its label; with smoothing, blended with the mean of -log softmax(x)."""
    for block in range(first, last):
        begin, count = row_range(x, rows, block, block + 1)
        for i in range(begin, begin + count):
            row = x[i]
            peak = peak_of(row)
            level = math.log(sum_of_powers(row, peak))
            loss = level - (row[labels[i]] - peak)
            if smoothing:
                rest = ZERO
                for k in range(row.size):
                    rest = plus(rest, row[k] - peak)
                loss = (ONE - smoothing) * loss + smoothing * (level - rest / row.size)
            out[i] = loss


@as_written
def cross_entropy_of_shares(x, shares, smoothing, rows, out, first, last):
    """Store each row's -sum_k t_k log softmax(x)_k; where t is 0 nothing is added, whatever x is."""
    for block in range(first, last):
        begin, count = row_range(x, rows, block, block + 1)
        for i in range(begin, begin + count):
            row, share = x[i], shares[i]
            peak, even = peak_of(row), smoothing / np.float32(row.size)
            level, loss = math.log(sum_of_powers(row, peak)), ZERO
            for k in range(row.size):
                t = share[k] * (ONE - smoothing) + even
                loss = plus(loss, ZERO if t == ZERO else t * (level - (row[k] - peak)))
            out[i] = loss


@as_written
def gradient_of_labels(g, x, labels, smoothing, rows, out, first, last):
    """Store g (softmax(x) - t), t being 1 at the label, smoothed."""
    for block in range(first, last):
        begin, count = row_range(x, rows, block, block + 1)
        for i in range(begin, begin + count):
            result, label, even = out[i], labels[i], smoothing / np.float32(x.shape[1])
            per_total = ONE / powers(x[i], peak_of(x[i]), result)
            own = result[label] * per_total - even - (ONE - smoothing)
            for k in range(result.size):
                result[k] = g[i] * (result[k] * per_total - even)
            result[label] = g[i] * own


@as_written
def gradient_of_shares(g, x, shares, smoothing, rows, out, first, last):
    """Store g (softmax(x) sum(t) - t)."""
    for block in range(first, last):
        begin, count = row_range(x, rows, block, block + 1)
        for i in range(begin, begin + count):
            result, share, even = out[i], shares[i], smoothing / np.float32(x.shape[1])
            per_total, whole = ONE / powers(x[i], peak_of(x[i]), result), ZERO
            for k in range(share.size):
                whole = plus(whole, share[k] * (ONE - smoothing) + even)
            for k in range(result.size):
                result[k] = g[i] * (result[k] * per_total * whole - (share[k] * (ONE - smoothing) + even))
