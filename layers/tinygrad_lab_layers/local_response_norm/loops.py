"""Compiled loops of local response normalization over neighboring channels; a block has `rows` pixels.

A workspace holds the channels of all pixels of a block on one line, with a gap of zeros before and after each pixel. A
gap is as long as a neighborhood can extend beyond the first or last channel. The sum over each channel's neighborhood
is then a sum of shifted copies of that line.
"""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lab.kernels.tools import jit

ONE = np.float32(1)


@jit
def some_pixels(x, rows, block):
    """Return the first pixel of a block and its number of pixels."""
    return block * rows, min(rows, x.shape[0] - block * rows)


@jit
def neighbors(line, start, taps, count, total):
    """Store the sums of `taps` neighbors on a line: total[i] = line[start + i] + ... + line[start + i + taps - 1]."""
    total[:count] = line[start : start + count]
    for tap in range(1, taps):
        moved = line[start + tap : start + tap + count]
        for i in range(count):
            total[i] += moved[i]


@jit
def inverse_power(base, beta, count, out):
    """Store base^-beta, by square roots if beta is a multiple of 1/4 from 0 to 1, such as 0.75.

    A larger power would overflow before its inverse becomes 0.
    """
    quarters = np.int64(4 * beta)
    if quarters != 4 * beta or not 0 <= quarters <= 4:
        for i in range(count):
            out[i] = base[i] ** -beta
        return
    out[:count] = ONE
    if quarters & 4:
        for i in range(count):
            out[i] *= base[i]
    if quarters & 2:
        for i in range(count):
            out[i] *= math.sqrt(base[i])
    if quarters & 1:
        for i in range(count):
            out[i] *= math.sqrt(math.sqrt(base[i]))
    for i in range(count):
        out[i] = ONE / out[i]


@jit
def shrinking(x, begin, pixels, reach, options, squares, base, shrink):
    """Store base = k + factor * the sum of squares over each channel's neighborhood, and base^-beta."""
    before, after, factor, beta, k = options
    channels = x.shape[1]
    apart = channels + reach
    for p in range(pixels):
        pixel, place = x[begin + p], squares[reach + p * apart : reach + p * apart + channels]
        for q in range(channels):
            place[q] = pixel[q] * pixel[q]
    count = pixels * apart
    neighbors(squares, reach - before, before + 1 + after, count, base)
    for i in range(count):
        base[i] = base[i] * factor + k
    inverse_power(base, beta, count, shrink)


@jit
def local_response_norm(x, reach, options, rows, out, first, last):
    """Store x * base^-beta; `reach` is the length of the gaps."""
    channels = x.shape[1]
    apart = channels + reach
    squares = np.zeros(2 * reach + rows * apart, np.float32)
    base, shrink = np.empty(rows * apart, np.float32), np.empty(rows * apart, np.float32)
    for block in range(first, last):
        begin, pixels = some_pixels(x, rows, block)
        shrinking(x, begin, pixels, reach, options, squares, base, shrink)
        for p in range(pixels):
            pixel, result, less = x[begin + p], out[begin + p], shrink[p * apart : p * apart + channels]
            for q in range(channels):
                result[q] = pixel[q] * less[q]


@jit
def local_response_norm_gradient(g, x, reach, options, rows, out, first, last):
    """Store g base^-beta - 2 factor beta x * (the sum of g x base^(-beta - 1) over some channels).

    For each channel, these are the channels whose sums contain it.
    """
    before, after, factor, beta, _ = options
    channels = x.shape[1]
    apart, slope = channels + reach, 2 * factor * beta
    squares, pulls = (np.zeros(2 * reach + rows * apart, np.float32), np.zeros(2 * reach + rows * apart, np.float32))
    base, shrink = np.empty(rows * apart, np.float32), np.empty(rows * apart, np.float32)
    for block in range(first, last):
        begin, pixels = some_pixels(x, rows, block)
        shrinking(x, begin, pixels, reach, options, squares, base, shrink)
        for p in range(pixels):
            at = p * apart
            cotangent, pixel, place = g[begin + p], x[begin + p], pulls[reach + at : reach + at + channels]
            less, divisor = shrink[at : at + channels], base[at : at + channels]
            for q in range(channels):
                place[q] = cotangent[q] * pixel[q] * less[q] / divisor[q]
        seen = base
        neighbors(pulls, reach - after, before + 1 + after, pixels * apart, seen)
        for p in range(pixels):
            at = p * apart
            cotangent, pixel, result = g[begin + p], x[begin + p], out[begin + p]
            less, sums = shrink[at : at + channels], seen[at : at + channels]
            for q in range(channels):
                result[q] = cotangent[q] * less[q] - pixel[q] * sums[q] * slope
