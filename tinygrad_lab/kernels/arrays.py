"""Helpers of all kernels: arrays for compiled code, and the options of a convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lab.backend import Array, is_array
from tinygrad_lab.ops.convolution import NO_PADDING
from tinygrad_lab.ops.windows import Padding, Pair


class Options(NamedTuple):
    """The options of a convolution."""

    stride: Pair = (1, 1)
    padding: Padding = NO_PADDING
    dilation: Pair = (1, 1)
    groups: int = 1

    @property
    def begin(self) -> Pair:
        """Row and column of the image where the window of map pixel (0, 0) begins; negative where there is padding."""
        return -self.padding[0][0], -self.padding[1][0]

    def turned(self, kernel_size: Sequence[int]) -> Options:
        """Return the options of the adjoint in x at stride 1, which is a convolution with the `turned` filters."""
        rows, columns = (
            ((count - 1) * dilation - before, (count - 1) * dilation - after)
            for count, dilation, (before, after) in zip(kernel_size, self.dilation, self.padding, strict=True)
        )
        return self._replace(padding=(rows, columns))


def turned(w: Array) -> Array:
    """Return filters rotated by 180 degrees, inputs and outputs exchanged: (kh, kw, C, O) -> (kh, kw, O, C)."""
    return w[::-1, ::-1].swapaxes(2, 3)


def is_product(size: Sequence[int], kernel_size: Sequence[int], how: Options) -> bool:
    """Return whether the only window is the whole image, so that the convolution is a matrix product.

    The result is False for images of one pixel, whose convolution has this form anyway.
    """
    return tuple(size) == tuple(kernel_size) != (1, 1) and how._replace(stride=(1, 1)) == Options()


def as_pixel(images: Array) -> Array:
    """Return images as one pixel of many channels each: (N, H, W, C) -> (N, 1, 1, H*W*C)."""
    return images.reshape(len(images), 1, 1, -1)


def as_tap(w: Array) -> Array:
    """Return filters as one tap of many channels: (kh, kw, C, O) -> (1, 1, kh*kw*C, O)."""
    return w.reshape(1, 1, -1, w.shape[3])


class _Opened:
    """The memory of a read-only array, declared writable: Numba would compile again for a read-only array.

    The compiled kernels never write to their inputs.
    """

    def __init__(self, array: Array) -> None:
        self.owner = array
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


def contiguous(array: Array) -> Array:
    """Return a contiguous, aligned array of the same contents, not marked read-only; copied only if necessary."""
    array = np.ascontiguousarray(array)
    if not array.flags.aligned:
        array = array.copy()
    return array if array.flags.writeable else np.asarray(_Opened(array))


def holds_float32(*arrays: Any) -> bool:
    """Return whether all values are non-empty arrays of float32."""
    return all(is_array(a) and a.dtype == np.float32 and a.size > 0 for a in arrays)


def are_numbers(*values: Any) -> bool:
    """Return whether all values are Python numbers, which compiled code takes."""
    return all(isinstance(value, (int, float)) for value in values)


def are_channels(x: Array, *others: Any) -> bool:
    """Return whether x has two or more axes, and each other array has one value per channel (along x's last axis)."""
    return x.ndim > 1 and all(is_array(a) and a.shape == x.shape[-1:] for a in others)


def round_up(number: int, unit: int) -> int:
    """Return the smallest multiple of `unit` that is at least `number`."""
    return -(-number // unit) * unit


def padded_bias(b: Array | None, outputs: int, slack: int) -> Array:
    """Return the bias (or zeros) padded for vector loads beyond its end."""
    bias = np.zeros(outputs + slack, np.float32)
    if b is not None:
        bias[:outputs] = b
    return bias
