"""Affine warps of image batches by one bilinear resampling, however many maps are composed.

A *map* is a 2x3 matrix that takes an output pixel (row, column) to the position in the input from which it is read:

    (y, x)' = L (i, j)' + t,  map = [L | t]

Maps compose like functions, so any number of rotations, shifts, zooms, flips and crops is one map, and the image is
resampled only once. Each further interpolation would blur it, and lose pixels at the borders.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from tinygrad_lab.autograd.dispatch import provider_serves
from tinygrad_lab.autograd.settings import SETTINGS
from tinygrad_lab.backend import Array, device_name, namespace, transfer
from tinygrad_lab.errors import OptionError, ShapeError
from tinygrad_lab.limits import check_memory

Fill = Literal["zero", "edge", "reflect"]
FILLS: tuple[Fill, ...] = ("zero", "edge", "reflect")

_MUCH = 1 << 30  # bytes; larger batches are compared with the available memory
_BLOCK = 16_384  # pixels interpolated at a time, which fit into a cache (a whole batch takes three times longer)


def check_fill(who: str, fill: str) -> None:
    """Check the name of a filling.

    Raises
    ------
    OptionError
        The filling is unknown.
    """
    if fill not in FILLS:
        raise OptionError(f"{who}: expected a fill out of {list(FILLS)}, got {fill!r}")


def affine_maps(count: int) -> Array:
    """Return `count` identity maps.

    Shapes
    ------
    (count, 2, 3), float64
    """
    return np.tile(np.eye(2, 3), (count, 1, 1))


def compose_maps(first: Array, second: Array) -> Array:
    """Return the maps of applying `first` to the images, then `second`.

    Maps lead from the output to the input, so the last operation's map is applied first:
    [L1 | t1] after [L2 | t2] = [L1 L2 | L1 t2 + t1].

    Shapes
    ------
    (N, 2, 3), (N, 2, 3) -> (N, 2, 3)
    """
    maps = first[:, :, :2] @ second
    maps[:, :, 2] += first[:, :, 2]
    return maps


def about_center(linear: Array, size: tuple[int, int]) -> Array:
    """Return the maps of linear transformations about the center of an image.

    Shapes
    ------
    (N, 2, 2) -> (N, 2, 3)
    """
    center = (np.array(size, float) - 1) / 2
    return np.concatenate([linear, (center - linear @ center)[:, :, None]], axis=2)  # (N, 2, 2), (N, 2) -> (N, 2, 3)


def warp(images: Array, maps: Array, *, fill: Fill = "edge", size: tuple[int, int] | None = None) -> Array:
    """Resample each image by its own affine map.

    out[n, i, j] = sum over the four pixels around (y, x) = L (i, j) + t of (1 - |y - row|) (1 - |x - column|) image[n]

    Parameters
    ----------
    images : array of float32
        A batch, on any device; not changed.
    maps : array of float64
        One map per image, from output to input pixels: a NumPy array, which is moved to the images' device.
    fill : str
        The filling outside of an image: ``"zero"``; ``"edge"``, the nearest pixel; ``"reflect"``, the image
        mirrored about the centers of its outermost pixels (as ``numpy.pad(mode="reflect")``).
    size : (int, int), optional
        Height and width of the output; by default those of the input.

    Returns
    -------
    array of float32

    Shapes
    ------
    images (N, H, W, C), maps (N, 2, 3) -> (N, size[0], size[1], C)

    Raises
    ------
    ShapeError
        The numbers of maps and images differ, or the images are empty.
    OptionError
        The fill is unknown, or the images would not fit into the memory of this machine.

    Examples
    --------
    >>> image = np.arange(4, dtype=np.float32).reshape(1, 1, 4, 1)
    >>> half_a_pixel = np.array([[[1, 0, 0], [0, 1, 0.5]]])
    >>> warp(image, half_a_pixel, fill="zero").ravel()
    array([0.5, 1.5, 2.5, 1.5], dtype=float32)
    """
    check_fill("warp", fill)
    if images.ndim != 4 or maps.shape != (len(images), 2, 3):
        raise ShapeError(f"warp: expected images (N, H, W, C) and maps (N, 2, 3), got {images.shape} and {maps.shape}")
    height, width = size or images.shape[1:3]
    if 0 in images.shape[1:3] and height and width:
        raise ShapeError(f"warp: expected images of at least one pixel for {height}x{width}, got {images.shape}")
    if (needed := 4 * len(images) * height * width * images.shape[3]) > _MUCH:
        check_memory(OptionError, f"warp: images of {height}x{width}", needed, cure="take smaller ones")
    xp = namespace(images)
    if xp is np and _compiled():
        return _run_kernel(images, maps, fill, (height, width))
    if _serves("cupy", xp):
        from tinygrad_lab.kernels.cupy.warp import warp as warp_there

        return warp_there(images, maps, FILLS.index(fill), (height, width))
    rows = maps[:, 0, 0, None] * np.arange(height) + maps[:, 0, 2, None]
    columns = maps[:, 1, 1, None] * np.arange(width) + maps[:, 1, 2, None]
    if not (maps[:, 0, 1].any() or maps[:, 1, 0].any()) and _whole(rows) and _whole(columns):
        rows, columns = (transfer(a, device_name(images)) for a in (rows[:, :, None], columns[:, None, :]))
        return _gather(images, rows, columns, fill)
    out = xp.empty((len(images), height, width, images.shape[3]), xp.float32)
    block = max(1, _BLOCK // max(1, height * width)) if xp is np else len(images)
    for first in range(0, len(images), max(1, block)):
        part = slice(first, first + block)
        out[part] = _interpolate(images[part], maps[part], (height, width), fill)
    return out


def _compiled() -> bool:
    return _serves("numba", np)


def _serves(provider: str, xp: Any) -> bool:
    """Return whether a provider's kernels are enabled and run on arrays of a namespace."""
    providers = SETTINGS.get().providers
    return (providers is None or provider in providers) and provider_serves(provider, xp)


def _run_kernel(images: Array, maps: Array, fill: Fill, size: tuple[int, int]) -> Array:
    from tinygrad_lab.kernels.numba.loops import warp as kernel  # imports Numba

    out = np.empty((len(images), *size, images.shape[3]), np.float32)
    layout: list[Literal["C", "W"]] = ["C", "W"]  # Numba would compile again for a read-only or strided array
    images, maps = np.require(images, np.float32, layout), np.require(maps, np.float64, layout)
    kernel.warp(images, maps, FILLS.index(fill), out, 0, len(images))
    return out


def _whole(positions: Array) -> bool:
    return bool((positions == np.floor(positions)).all())


def _inside(positions: Array, count: int, fill: Fill) -> Array:
    """Return the pixel that is read at each position along an axis of `count` pixels, or -1 for a zero."""
    xp = namespace(positions)
    positions = positions.astype(xp.int64)
    if fill == "zero":
        return xp.where((positions >= 0) & (positions < count), positions, -1)
    if fill == "edge" or count == 1:
        return positions.clip(0, count - 1)
    period = 2 * count - 2
    positions = xp.abs(positions) % period
    return xp.minimum(positions, period - positions)


def _gather(images: Array, rows: Array, columns: Array, fill: Fill) -> Array:
    """Return the pixels at whole rows and columns of each image, zeros outside if `fill` is "zero".

    Shapes
    ------
    images (N, H, W, C), rows and columns that broadcast to (N, I, J) -> (N, I, J, C)
    """
    count, height, width, channels = images.shape
    rows, columns = _inside(rows, height, fill), _inside(columns, width, fill)
    xp = namespace(images)
    index = (xp.arange(count)[:, None, None] * height + rows) * width + columns
    pixels = images.reshape(-1, channels)  # (N, H, W, C) -> (N*H*W, C)
    if fill == "zero":
        index = xp.where((rows < 0) | (columns < 0), len(pixels), index)
        pixels = xp.concatenate([pixels, xp.zeros((1, channels), pixels.dtype)])
    return pixels.take(index, axis=0)


def _interpolate(images: Array, maps: Array, size: tuple[int, int], fill: Fill) -> Array:
    xp = namespace(images)
    if fill == "zero":  # a border of zeros, from which all positions outside are read
        images = xp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
        maps = maps + np.array([[0, 0, 1], [0, 0, 1]])
    count, height, width, channels = images.shape
    grid = np.indices(size).reshape(2, -1)  # (2, I, J) -> (2, I*J)
    places = transfer(maps[:, :, :2] @ grid + maps[:, :, 2:], device_name(images))  # (N, 2, I*J)
    top, down = _corner_and_weight(places[:, 0], height, fill)
    left, right = _corner_and_weight(places[:, 1], width, fill)
    corner = (xp.arange(count)[:, None] * height + top) * width + left
    right, down = xp.repeat(right, channels), xp.repeat(down, channels)  # (N, I*J) -> (N*I*J*C,)
    pixels = images.reshape(-1, channels)  # (N, H, W, C) -> (N*H*W, C)
    beside, below = int(width > 1), width * (height > 1)
    upper = _mix(pixels.take(corner, axis=0), pixels.take(corner + beside, axis=0), right)
    lower = _mix(pixels.take(corner + below, axis=0), pixels.take(corner + (below + beside), axis=0), right)
    return _mix(upper, lower, down).reshape(count, *size, channels)  # (N*I*J*C,) -> (N, I, J, C)


def _corner_and_weight(places: Array, length: int, fill: Fill) -> tuple[Array, Array]:
    """Return the first of the two pixels next to a position on an axis, and the weight of the second."""
    xp = namespace(places)
    if fill == "reflect" and length > 1:
        places = xp.abs(places) % (2 * length - 2)
        places = xp.minimum(places, 2 * length - 2 - places)
    else:
        places = places.clip(0, length - 1)
    corner = xp.minimum(places.astype(xp.int64), max(length - 2, 0))
    return corner, (places - corner).astype(xp.float32)


def _mix(a: Array, b: Array, weight: Array) -> Array:
    """Return (1 - weight) a + weight b, in the memory of b."""
    a, b = a.ravel(), b.ravel()
    b -= a
    b *= weight
    b += a
    return b
