"""Compiled affine warp: see `tinygrad_lab.data.augment.warp` for the formula and the reference."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lab.kernels.numba.loops.jit import jit
from tinygrad_lab.kernels.numba.loops.sums import multiply_add

ZERO, EDGE, REFLECT = 0, 1, 2
_OUTSIDE = -1


@jit
def _inside(i: int, n: int, fill: int) -> int:
    """Return the pixel that is used for position i of an axis of length n, or `_OUTSIDE` for a zero."""
    if 0 <= i < n:
        return i
    if fill == ZERO:
        return _OUTSIDE
    if fill == EDGE or n == 1:
        return 0 if i < 0 else n - 1
    i = abs(i) % (2 * n - 2)
    return i if i < n else 2 * n - 2 - i


@jit
def _copies(m: Any) -> Any:
    """Return whether a map only moves and mirrors whole pixels."""
    straight = m[0, 1] == 0 and m[1, 0] == 0 and abs(m[0, 0]) == 1 and abs(m[1, 1]) == 1
    return straight and m[0, 2] == np.floor(m[0, 2]) and m[1, 2] == np.floor(m[1, 2])


@jit
def _copy(image: Any, m: Any, fill: int, out: Any) -> None:
    channels = image.shape[2]
    for i in range(out.shape[0]):
        row = _inside(int(m[0, 0] * i + m[0, 2]), image.shape[0], fill)
        for j in range(out.shape[1]):
            column = _inside(int(m[1, 1] * j + m[1, 2]), image.shape[1], fill)
            outside = row < 0 or column < 0
            for c in range(channels):
                out[i, j, c] = np.float32(0) if outside else image[row, column, c]


@jit
def _interpolate(image: Any, m: Any, fill: int, out: Any) -> None:
    height, width, channels = image.shape
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            y = multiply_add(m[0, 0], float(i), multiply_add(m[0, 1], float(j), m[0, 2]))
            x = multiply_add(m[1, 0], float(i), multiply_add(m[1, 1], float(j), m[1, 2]))
            top, left = int(np.floor(y)), int(np.floor(x))
            down, right = np.float32(y - top), np.float32(x - left)
            up, remain = np.float32(1) - down, np.float32(1) - right
            y0, y1 = _inside(top, height, fill), _inside(top + 1, height, fill)
            x0, x1 = _inside(left, width, fill), _inside(left + 1, width, fill)
            for c in range(channels):
                a = image[y0, x0, c] if y0 >= 0 and x0 >= 0 else np.float32(0)
                b = image[y0, x1, c] if y0 >= 0 and x1 >= 0 else np.float32(0)
                d = image[y1, x0, c] if y1 >= 0 and x0 >= 0 else np.float32(0)
                e = image[y1, x1, c] if y1 >= 0 and x1 >= 0 else np.float32(0)
                above, below = multiply_add(remain, a, right * b), multiply_add(remain, d, right * e)
                out[i, j, c] = multiply_add(up, above, down * below)


@jit
def warp(images: Any, maps: Any, fill: int, out: Any, first: int, last: int) -> None:
    """Warp the images first, ..., last - 1 into `out`; each is read and written once."""
    for n in range(first, last):
        if _copies(maps[n]):
            _copy(images[n], maps[n], fill, out[n])
        else:
            _interpolate(images[n], maps[n], fill, out[n])
