"""Local response normalisation and its gradient, a block of pixels at a time: in NumPy and by compiled kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lab.kernels.tools import aligned, alike, by_blocks, holds_float32, plain, run

Array = Any  # of NumPy

BLOCK = 1 << 11  # elements: a handful of arrays of that size stay in a core's own cache
BLOCK_IN_NUMPY = 1 << 17  # less means more calls, between which threads wait for the interpreter
LEAST, LEAST_IN_NUMPY = 1 << 10, 1 << 13  # elements for which a launch pays


def takes_float32(*arrays: Array) -> bool:
    """Return whether the compiled kernels take these arrays: float32, of one shape, with channels."""
    return holds_float32(*arrays) and all(a.ndim > 0 and a.shape == arrays[0].shape for a in arrays)


def takes_blocks(*arrays: Array) -> bool:
    """Return whether NumPy's blocks serve these arrays: floats, of one shape with channels, in one piece of memory."""
    return alike(*arrays) and arrays[0].ndim > 0


def _reaches(x: Array, before: int, after: int) -> tuple[int, int]:
    """Return how many channels before and after one there can be."""
    return min(before, x.shape[-1] - 1), min(after, x.shape[-1] - 1)


def _pixels(array: Array) -> Array:
    return array.reshape(-1, array.shape[-1])


def _launch(kernel: Any, arrays: tuple[Array, ...], before: int, after: int, *numbers: float) -> Array:
    """Run a compiled kernel on blocks of pixels."""
    x, out = arrays[-1], aligned(arrays[-1].shape)
    reaches, rows = _reaches(x, before, after), max(1, BLOCK // x.shape[-1])
    pixels = [_pixels(plain(a)) for a in (*arrays, out)]
    options = (*reaches, *(np.float32(number) for number in numbers))
    run(kernel, (*pixels[:-1], max(reaches), options, rows, pixels[-1]), -(-len(pixels[0]) // rows))
    return out


def compiled_response(x: Array, *, before: int, after: int, factor: float, beta: float, k: float) -> Array:
    """Return x / (k + factor * sum of squares of the channels about each)^beta, by a compiled kernel."""
    from tinygrad_lab_layers.local_response_norm import compiled

    return _launch(compiled.local_response_norm, (x,), before, after, factor, beta, k)


def compiled_response_grad(
    g: Array, x: Array, *, before: int, after: int, factor: float, beta: float, k: float
) -> Array:
    """Return the gradient of `response`, by a compiled kernel."""
    from tinygrad_lab_layers.local_response_norm import compiled

    return _launch(compiled.local_response_norm_gradient, (g, x), before, after, factor, beta, k)


def _neighbours(x: Array, before: int, after: int) -> Array:
    """Return the sums over each channel, so many before it and so many after it.

    The channels of all pixels lie on one line, with a gap of zeros before each pixel's that no neighbourhood crosses.
    So the sums are those of that line with itself, moved by a channel each.
    """
    pixels, channels = x.shape
    gap = max(before, after)
    padded = np.zeros((pixels + 1, gap + channels), x.dtype)
    padded[:-1, gap:] = x
    line, size = padded.reshape(-1), pixels * (gap + channels)
    total = line[gap - before :][:size].copy()
    for place in range(gap - before + 1, gap + after + 1):
        total += line[place:][:size]
    return total.reshape(pixels, gap + channels)[:, :channels]


def response(x: Array, *, before: int, after: int, factor: float, beta: float, k: float) -> Array:
    """Return x / (k + factor * sum of squares of the channels about each)^beta, in NumPy."""
    before, after = _reaches(x, before, after)
    out = np.empty(x.shape, x.dtype)
    pixels, results = _pixels(x), _pixels(out)

    def work(part: slice) -> None:
        base = _neighbours(np.square(pixels[part]), before, after) * factor
        base += k
        np.multiply(pixels[part], np.power(base, -beta, out=base), out=results[part])

    by_blocks(work, len(pixels), max(1, BLOCK_IN_NUMPY // x.shape[-1]))
    return out


def response_grad(g: Array, x: Array, *, before: int, after: int, factor: float, beta: float, k: float) -> Array:
    """Return the gradient of `response`, in NumPy."""
    before, after = _reaches(x, before, after)
    out = np.empty(x.shape, x.dtype)
    slopes, pixels, results = _pixels(g), _pixels(x), _pixels(out)

    def work(part: slice) -> None:
        base = _neighbours(np.square(pixels[part]), before, after) * factor
        base += k
        pull = np.multiply(slopes[part], np.power(base, -beta), out=results[part])
        seen = _neighbours(pixels[part] * pull / base, after, before) * (2.0 * factor * beta)
        seen *= pixels[part]
        results[part] -= seen

    by_blocks(work, len(pixels), max(1, BLOCK_IN_NUMPY // x.shape[-1]))
    return out
