"""What kernels share: how arrays are handed to compiled code, and the options of a convolution."""

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
        """The pixel of an image that the first pixel of a map sees first."""
        return -self.padding[0][0], -self.padding[1][0]

    def turned(self, kernel_size: Sequence[int]) -> Options:
        """Return the options with which, for stride 1, the turned filters give the adjoint in x."""
        rows, columns = (
            ((count - 1) * dilation - before, (count - 1) * dilation - after)
            for count, dilation, (before, after) in zip(kernel_size, self.dilation, self.padding, strict=True)
        )
        return self._replace(padding=(rows, columns))


def turned(w: Array) -> Array:
    """Return filters turned by 180 degrees, inputs and outputs exchanged: (kh, kw, C, O) -> (kh, kw, O, C)."""
    return w[::-1, ::-1].swapaxes(2, 3)


def is_product(size: Sequence[int], kernel_size: Sequence[int], how: Options) -> bool:
    """Tell whether the only window is the whole image, so that the convolution is a product of matrices.

    Images of one pixel do not count: nothing is to be done for them.
    """
    return tuple(size) == tuple(kernel_size) != (1, 1) and how._replace(stride=(1, 1)) == Options()


def as_pixel(images: Array) -> Array:
    """Return images as one pixel of many channels each: (N, H, W, C) -> (N, 1, 1, H*W*C)."""
    return images.reshape(len(images), 1, 1, -1)


def as_tap(w: Array) -> Array:
    """Return filters as one tap of many channels: (kh, kw, C, O) -> (1, 1, kh*kw*C, O)."""
    return w.reshape(1, 1, -1, w.shape[3])


class _Opened:
    """A read-only array's memory as writable: Numba would compile once more for a read-only one.

    The compiled kernels write to nothing that they are given to read.
    """

    def __init__(self, array: Array) -> None:
        self.owner = array
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


def contiguous(array: Array) -> Array:
    """Return a contiguous array of the same contents, aligned and not marked read-only; a copy only if need be."""
    array = np.ascontiguousarray(array)
    if not array.flags.aligned:
        array = array.copy()
    return array if array.flags.writeable else np.asarray(_Opened(array))


def holds_float32(*arrays: Any) -> bool:
    """Return whether all are arrays that hold float32 and are not empty."""
    return all(is_array(a) and a.dtype == np.float32 and a.size > 0 for a in arrays)


def are_numbers(*values: Any) -> bool:
    """Return whether all values are Python's numbers, which compiled code takes."""
    return all(isinstance(value, (int, float)) for value in values)


def are_channels(x: Array, *others: Any) -> bool:
    """Return whether an array has rows, and the others a value for each of its channels."""
    return x.ndim > 1 and all(is_array(a) and a.shape == x.shape[-1:] for a in others)


def round_up(number: int, unit: int) -> int:
    """Return the least multiple of `unit` that is no less than a number."""
    return -(-number // unit) * unit


def padded_bias(b: Array | None, outputs: int, slack: int) -> Array:
    """Return the bias (or zeros) with room for vector loads behind it."""
    bias = np.zeros(outputs + slack, np.float32)
    if b is not None:
        bias[:outputs] = b
    return bias
