"""Compiled pooling loops, which handle all channels of a pixel at a time."""

from __future__ import annotations

import numpy as np

from tinygrad_lab.kernels.numba.loops.channels import largest_of_taps
from tinygrad_lab.kernels.numba.loops.jit import jit
from tinygrad_lab.kernels.numba.loops.memory import address


@jit
def clipped(place, kernel_size, size):
    """Return the range (first, end) of a window's positions that lie within an axis of length `size`."""
    return max(0, -place), min(kernel_size, size - place)


@jit
def max_pool(x, out, index, kernel_size, stride, padding, first, last):
    """Store the maximum of each window and, unless `index` is empty, its index in the window; blocks are images.

    The first of equal maxima wins, and NaN wins over all. The padding counts as minus infinity.
    """
    _, height, width, channels = x.shape
    taps, numbers = (
        np.empty(kernel_size[0] * kernel_size[1], np.int64),
        np.empty(kernel_size[0] * kernel_size[1], np.int64),
    )
    for image in range(first, last):
        for i in range(out.shape[1]):
            h = i * stride[0] - padding[0]
            a0, a1 = clipped(h, kernel_size[0], height)
            whole = False
            for j in range(out.shape[2]):
                w = j * stride[1] - padding[1]
                b0, b1 = clipped(w, kernel_size[1], width)
                if not (whole and b1 - b0 == kernel_size[1]):  # the taps of the previous window do not fit
                    count, whole, numbers[0] = 0, b1 - b0 == kernel_size[1], 0
                    for a in range(a0, a1):
                        for b in range(b0, b1):
                            taps[count], numbers[count] = (a * width + b) * channels, a * kernel_size[1] + b
                            count += 1
                source = address(x) + 4 * ((image * height + h) * width + w) * channels
                pixel = ((image * out.shape[1] + i) * out.shape[2] + j) * channels
                target, which, place = address(out) + 4 * pixel, address(numbers), address(index) + pixel
                if index.size:
                    largest_of_taps(True, source, address(taps), which, count, target, place, channels)
                else:
                    largest_of_taps(False, source, address(taps), which, count, target, place, channels)


@jit
def max_pool_gradient(g, index, out, kernel_size, stride, padding, first, last):
    """Fill `out` with zeros and add each window's cotangent at the window's maximum; blocks are images."""
    _, height, width, channels = out.shape
    taps = kernel_size[0] * kernel_size[1]
    offsets = np.empty(taps, np.int64)
    for k in range(taps):
        offsets[k] = (k // kernel_size[1] * width + k % kernel_size[1]) * channels
    for image in range(first, last):
        pixels = out[image].reshape(height * width * channels)
        pixels[:] = 0
        for i in range(g.shape[1]):
            h = i * stride[0] - padding[0]
            a0, a1 = clipped(h, kernel_size[0], height)
            for j in range(g.shape[2]):
                w = j * stride[1] - padding[1]
                b0, b1 = clipped(w, kernel_size[1], width)
                whole = a1 - a0 == kernel_size[0] and b1 - b0 == kernel_size[1]
                start = (h * width + w) * channels
                gradient, place = g[image, i, j], index[image, i, j]
                for q in range(channels):
                    k = place[q]
                    if k < taps and (whole or (a0 <= k // kernel_size[1] < a1 and b0 <= k % kernel_size[1] < b1)):
                        pixels[np.uint64(start + offsets[k] + q)] += gradient[q]


@jit
def max_pool_take(x, index, out, kernel_size, stride, padding, first, last):
    """Store the element at `index` of each window, 0 outside of the image; blocks are images."""
    _, height, width, channels = x.shape
    for image in range(first, last):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                for q in range(channels):
                    a, b = divmod(np.int64(index[image, i, j, q]), kernel_size[1])
                    h, w = i * stride[0] - padding[0] + a, j * stride[1] - padding[1] + b
                    inside = a < kernel_size[0] and 0 <= h < height and 0 <= w < width
                    out[image, i, j, q] = x[image, h, w, q] if inside else np.float32(0)


@jit
def sum_pool(x, out, kernel_size, stride, padding, first, last):
    """Store the sum of each window; blocks are images."""
    _, height, width, channels = x.shape
    for image in range(first, last):
        for i in range(out.shape[1]):
            h = i * stride[0] - padding[0]
            a0, a1 = clipped(h, kernel_size[0], height)
            for j in range(out.shape[2]):
                w = j * stride[1] - padding[1]
                b0, b1 = clipped(w, kernel_size[1], width)
                total = out[image, i, j]
                total[:] = 0
                for a in range(a0, a1):
                    for b in range(b0, b1):
                        pixel = x[image, h + a, w + b]
                        for q in range(channels):
                            total[q] += pixel[q]


@jit
def sum_pool_gradient(g, out, kernel_size, stride, padding, first, last):
    """Fill `out` with zeros and add each cotangent to every pixel of its window; blocks are images."""
    _, height, width, channels = out.shape
    for image in range(first, last):
        out[image] = 0
        for i in range(g.shape[1]):
            h = i * stride[0] - padding[0]
            a0, a1 = clipped(h, kernel_size[0], height)
            for j in range(g.shape[2]):
                w = j * stride[1] - padding[1]
                b0, b1 = clipped(w, kernel_size[1], width)
                gradient = g[image, i, j]
                for a in range(a0, a1):
                    for b in range(b0, b1):
                        pixel = out[image, h + a, w + b]
                        for q in range(channels):
                            pixel[q] += gradient[q]
