"""Affine warp of image batches on a GPU; see `tinygrad_lab.data.augment.warp` for the formula and the reference."""

from __future__ import annotations

import numpy as np

from tinygrad_lab.backend import Array, device_name, transfer
from tinygrad_lab.kernels.cupy.launch import contiguous, room, run


def warp(images: Array, maps: Array, fill: int, size: tuple[int, int]) -> Array:
    """Resample each image by its own map.

    Parameters
    ----------
    images : array of float32
        On the device.
    maps : array of float64
        A NumPy array; only this is copied to the device.
    fill : int
        The number of the fill mode, in the order of ``FILLS``.
    size : (int, int)
        Height and width of the output.
    """
    maps = transfer(np.ascontiguousarray(maps, np.float64), device_name(images))
    count, height, width, channels = images.shape
    out = room((count, *size, channels), images)
    sizes = height, width, channels, *size, out.size
    run("warp", "warp", images, out.size, contiguous(images), maps, out, fill, *sizes)
    return out
