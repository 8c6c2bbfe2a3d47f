"""Kernels of local response normalization: on a GPU, in NumPy, and compiled. The last one that fits is used.

The kernels in NumPy and the compiled ones work on a block of pixels at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lab.kernels.tools import (
    aligned,
    alike,
    are_numbers,
    by_blocks,
    contiguous,
    gpu,
    holds_float32,
    parallel_for,
)
from tinygrad_lab_layers.local_response_norm.layer import channel_sum, local_response_norm, local_response_norm_grad

Array = Any  # of NumPy

BLOCK = 1 << 11  # elements: several arrays of that size stay in a core's own cache
BLOCK_IN_NUMPY = 1 << 17  # smaller blocks mean more calls, between which threads wait for the interpreter
LEAST, LEAST_IN_NUMPY = 1 << 10, 1 << 13  # elements of the smallest array for which a kernel pays off
SOURCE = "tinygrad_lab_layers.local_response_norm:responses"


def _reaches(x: Array, before: int, after: int) -> tuple[int, int]:
    """Return `before` and `after`, limited to the number of other channels."""
    return min(before, x.shape[-1] - 1), min(after, x.shape[-1] - 1)


def _pixels(array: Array) -> Array:
    return array.reshape(-1, array.shape[-1])


# ----------------------------------------------------------------------------------------------------- on a GPU


def _takes_raw(*arrays: Any, **options: Any) -> bool:
    return gpu.takes(*arrays) and arrays[0].ndim > 0


def _launch_raw(
    name: str, arrays: tuple[Any, ...], *, before: int, after: int, factor: float, beta: float, k: float
) -> Any:
    x, out = arrays[-1], gpu.room(arrays[-1].shape, arrays[-1])
    given, numbers = map(gpu.contiguous, arrays), (float(factor), float(beta), float(k))
    gpu.run(SOURCE, name, x, x.size, *given, out, before, after, *numbers, x.shape[-1], x.size)
    return out


@channel_sum.kernel("cupy", when=_takes_raw, error_bound=1e-5)
def _raw_channel_sum(x: Any, *, before: int, after: int) -> Any:
    out = gpu.room(x.shape, x)
    gpu.run(SOURCE, "channel_sum", x, x.size, gpu.contiguous(x), out, before, after, x.shape[-1], x.size)
    return out


@local_response_norm.kernel("cupy", when=_takes_raw, error_bound=1e-5)
def _raw_response(x: Any, **options: Any) -> Any:
    return _launch_raw("local_response_norm", (x,), **options)


@local_response_norm_grad.kernel("cupy", when=_takes_raw, error_bound=1e-5)
def _raw_response_grad(g: Any, x: Any, **options: Any) -> Any:
    return _launch_raw("local_response_norm_grad", (g, x), **options)


# ----------------------------------------------------------------------------------------------------- in NumPy


def _takes_blocks(*arrays: Array, **options: Any) -> bool:
    """Return whether arrays are contiguous floats of one shape with channels."""
    return alike(*arrays) and arrays[0].ndim > 0 and are_numbers(*options.values())


def _neighbors(x: Array, before: int, after: int) -> Array:
    """Return, for each channel, the sum over itself and its neighbors before and after it.

    The channels of all pixels are on one line, with a gap of zeros between pixels that no neighborhood crosses. The
    sums are then sums of shifted copies of that line.
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


@local_response_norm.kernel("numpy", min_size=LEAST_IN_NUMPY, when=_takes_blocks, error_bound=1e-5)
def _response_in_numpy(x: Array, *, before: int, after: int, factor: float, beta: float, k: float) -> Array:
    before, after = _reaches(x, before, after)
    out = np.empty(x.shape, x.dtype)
    pixels, results = _pixels(x), _pixels(out)

    def work(part: slice) -> None:
        base = _neighbors(np.square(pixels[part]), before, after) * factor
        base += k
        np.multiply(pixels[part], np.power(base, -beta, out=base), out=results[part])

    by_blocks(work, len(pixels), max(1, BLOCK_IN_NUMPY // x.shape[-1]))
    return out


@local_response_norm_grad.kernel("numpy", min_size=LEAST_IN_NUMPY, when=_takes_blocks, error_bound=1e-5)
def _response_grad_in_numpy(
    g: Array, x: Array, *, before: int, after: int, factor: float, beta: float, k: float
) -> Array:
    before, after = _reaches(x, before, after)
    out = np.empty(x.shape, x.dtype)
    slopes, pixels, results = _pixels(g), _pixels(x), _pixels(out)

    def work(part: slice) -> None:
        base = _neighbors(np.square(pixels[part]), before, after) * factor
        base += k
        pull = np.multiply(slopes[part], np.power(base, -beta), out=results[part])
        seen = _neighbors(pixels[part] * pull / base, after, before) * (2.0 * factor * beta)
        seen *= pixels[part]
        results[part] -= seen

    by_blocks(work, len(pixels), max(1, BLOCK_IN_NUMPY // x.shape[-1]))
    return out


# ----------------------------------------------------------------------------------------------------- compiled


def _takes_float32(*arrays: Array, **options: Any) -> bool:
    """Return whether arrays are float32, of one shape with channels."""
    fit = holds_float32(*arrays) and all(a.ndim > 0 and a.shape == arrays[0].shape for a in arrays)
    return fit and are_numbers(*options.values())


def _launch(kernel: Any, arrays: tuple[Array, ...], before: int, after: int, *numbers: float) -> Array:
    """Run a compiled kernel on blocks of pixels."""
    x, out = arrays[-1], aligned(arrays[-1].shape)
    reaches, rows = _reaches(x, before, after), max(1, BLOCK // x.shape[-1])
    pixels = [_pixels(contiguous(a)) for a in (*arrays, out)]
    options = (*reaches, *(np.float32(number) for number in numbers))
    parallel_for(kernel, (*pixels[:-1], max(reaches), options, rows, pixels[-1]), -(-len(pixels[0]) // rows))
    return out


@local_response_norm.kernel("numba", min_size=LEAST, when=_takes_float32, error_bound=1e-5)
def _compiled_response(x: Array, *, before: int, after: int, factor: float, beta: float, k: float) -> Array:
    from tinygrad_lab_layers.local_response_norm import loops

    return _launch(loops.local_response_norm, (x,), before, after, factor, beta, k)


@local_response_norm_grad.kernel("numba", min_size=LEAST, when=_takes_float32, error_bound=1e-5)
def _compiled_response_grad(
    g: Array, x: Array, *, before: int, after: int, factor: float, beta: float, k: float
) -> Array:
    from tinygrad_lab_layers.local_response_norm import loops

    return _launch(loops.local_response_norm_gradient, (g, x), before, after, factor, beta, k)
