"""Sprites: many small pictures of one size in one PNG, as a data URI."""

from __future__ import annotations

import base64
import functools
import io
import math
from typing import Any

import numpy as np
from PIL import Image

from tinygrad_lab.backend import Array

LONGEST = 64  # pixels of a picture's longer side; larger ones are reduced
_HEAT = (230, 60, 20)  # the color of class activation maps; the opacity shows the value
_OPACITY = 190  # of 255, where a map is highest


def pictures(images: Array) -> Array:
    """Return images as pictures to look at: bytes, gray or in color, at most 64 pixels high and wide.

    Images with neither one nor three channels become gray, by the mean of their channels.

    Shapes
    ------
    (N, H, W, C) -> (N, h, w) or (N, h, w, 3)
    """
    count, height, width, channels = images.shape
    if images.dtype != np.uint8:
        images = (images.astype(np.float32).clip(0, 1) * 255).round().astype(np.uint8)
    if channels != 3:
        images = images.mean(axis=3).round().astype(np.uint8)  # (N, H, W, C) -> (N, H, W)
    scale = LONGEST / max(height, width, LONGEST)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if scale == 1 or not count:
        return images
    return np.stack([np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX)) for image in images])


def sprite(tiles: Array, colors: str | None = None) -> dict[str, Any]:
    """Return pictures in one PNG, row by row.

    Parameters
    ----------
    tiles : array of uint8, (N, h, w) or (N, h, w, 3)
        The pictures.
    colors : {"viridis", "heat"}, optional
        The colors of gray pictures: from dark blue to yellow, or from transparent to red.

    Returns
    -------
    dict
        The data URI ``png``, ``width`` and ``height`` of a picture, ``columns`` and ``count``.
    """
    count, height, width = tiles.shape[:3]
    columns = max(1, math.ceil(math.sqrt(count * height / width)))
    rows = max(1, math.ceil(count / columns))
    color = tiles.shape[3:]  # () or (3,)
    grid = np.zeros((rows * columns, height, width, *color), np.uint8)
    grid[:count] = tiles
    grid = grid.reshape(rows, columns, height, width, *color).swapaxes(1, 2)  # (rows, h, columns, w, ...)
    image = Image.fromarray(grid.reshape(rows * height, columns * width, *color))
    options: dict[str, Any] = {}
    if colors is not None:
        image.putpalette(_palette(colors))
    if colors == "heat":
        options["transparency"] = bytes(level * _OPACITY // 255 for level in range(256))
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True, **options)
    png = "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
    return {"png": png, "width": width, "height": height, "columns": columns, "count": count}


@functools.cache
def _palette(colors: str) -> bytes:
    """Return the red, green and blue of 256 levels."""
    if colors == "heat":
        return bytes(_HEAT) * 256
    import matplotlib as mpl

    return np.asarray(mpl.colormaps[colors](np.arange(256), bytes=True))[:, :3].tobytes()


def levels(values: Array, low: Array, high: Array) -> Array:
    """Return values between two bounds as bytes from 0 to 255; where the bounds are equal, 0."""
    span = np.where(high > low, high - low, 1)
    return ((values - low) / span * 255).clip(0, 255).round().astype(np.uint8)
