"""Bilinear resizing of image batches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_lab.arguments import fits
from tinygrad_lab.backend import Array
from tinygrad_lab.errors import OptionError
from tinygrad_lab.limits import check_memory

_VALUES = 1 << 17  # interpolated at a time, so that intermediate values stay in the cache
_MOST_PIXELS = 1 << 26  # of an image


def as_size(size: Any, who: str = "size") -> tuple[int, int]:
    """Return the height and width in a list, a tuple or an array.

    Raises
    ------
    OptionError
        The size is not two whole numbers of at least 1, or has more than 2^26 pixels.
    """
    if not fits(size, tuple[int, int]) or min(size) < 1:
        raise OptionError(f"{who}: expected two whole numbers of at least 1, (height, width), got {size!r}")
    height, width = map(int, size)
    if height * width > _MOST_PIXELS:
        raise OptionError(f"{who}: expected at most {_MOST_PIXELS:,} pixels, got {height:,} x {width:,}")
    return height, width


def _interpolation(source: int, target: int) -> tuple[Array, Array, Array]:
    """Return the two neighbors of every target position along one axis, and the weight of the second."""
    center = (np.arange(target) + 0.5) * (source / target) - 0.5
    center = center.clip(0, source - 1)
    low = np.floor(center).astype(np.int64)
    return low, np.minimum(low + 1, source - 1), center - low


def resize_bilinear(images: Array, size: tuple[int, int]) -> Array:
    """Resize images by bilinear interpolation.

    The target pixel i of n samples the source at (i + 1/2) m / n - 1/2, clipped to the outermost centers: pixels are
    squares whose centers are at half-integers, and the corners of both images coincide. Shrinking does not smooth.

    Parameters
    ----------
    images : array
        A batch of images of any real dtype.
    size : (int, int)
        The new height and width.

    Returns
    -------
    array
        In the dtype of `images`; integers are rounded to the nearest, halves to even.

    Shapes
    ------
    (N, H, W, C) -> (N, size[0], size[1], C)

    Raises
    ------
    OptionError
        `size` is not two whole numbers of at least 1, or the images would not fit into the machine's memory.

    Examples
    --------
    >>> resize_bilinear(np.array([[[[0.0], [1.0]]]]), (1, 4)).ravel()
    array([0.  , 0.25, 0.75, 1.  ])
    """
    size = as_size(size)
    if images.shape[1:3] == size:
        return images
    count, height, width, channels = images.shape
    shape = (count, *size, channels)
    needed = math.prod(shape) * images.dtype.itemsize
    check_memory(OptionError, f"resize to {size[0]}x{size[1]}", needed, cure="take a smaller size, or fewer images")
    resized = np.empty(shape, images.dtype)
    at_once = max(1, _VALUES // (max(height, size[0]) * max(width, size[1]) * channels))
    for first in range(0, count, at_once):
        part = _resized(images[first : first + at_once], size)
        resized[first : first + at_once] = np.rint(part) if images.dtype.kind in "iu" else part
    return resized


def _resized(images: Array, size: tuple[int, int]) -> Array:
    """Return a few images in another size, in float64."""
    low, high, weight = _interpolation(images.shape[1], size[0])
    weight = weight[:, None, None]
    rows = images[:, low] * (1 - weight) + images[:, high] * weight  # (N, H, W, C) -> (N, height, W, C)
    low, high, weight = _interpolation(images.shape[2], size[1])
    weight = weight[:, None]
    return rows[:, :, low] * (1 - weight) + rows[:, :, high] * weight  # (N, height, W, C) -> (N, height, width, C)
