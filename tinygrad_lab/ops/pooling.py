"""Pooling over windows of images, by the maximum or the sum, with their adjoints.

Images are (N, H, W, C); windows, strides and padding as in tinygrad_lab.ops.windows. Padding never wins a maximum.
"""

from __future__ import annotations

import math
from typing import Any

from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.autograd.settings import SETTINGS
from tinygrad_lab.errors import OptionError
from tinygrad_lab.ops.windows import Padding, Pair, fold, unfold


@primitive(outputs=("out", "index"))
def max_pool2d(xp: Any, x: Any, *, window: Pair, stride: Pair, padding: Padding) -> Any:
    """Return the maximum of each window and its place in the window, row by row, in one byte.

    The first of equal maxima wins, and NaN wins over all. Windows hold at most 256 elements.
    """
    if math.prod(window) > 256:
        raise OptionError(f"max_pool2d: expected a window of at most 256 elements, got {window[0]}x{window[1]}")
    columns = unfold(x, window=window, stride=stride, padding=padding, fill=-math.inf)
    n, ho, wo, kh, kw, c = columns.shape
    columns = columns.reshape(n, ho, wo, kh * kw, c)
    return columns.max(axis=3), columns.argmax(axis=3).astype(xp.uint8)


@primitive
def max_pool2d_values(xp: Any, x: Any, *, window: Pair, stride: Pair, padding: Padding) -> Any:
    """Return the maximum of each window without its place, which takes longer to find and no inference needs."""
    return unfold(x, window=window, stride=stride, padding=padding, fill=-math.inf).max(axis=(3, 4))


def largest_in_windows(x: Any, *, window: Pair, stride: Pair, padding: Padding) -> Any:
    """Return the maximum of each window; its place is noted where a derivative may be asked for."""
    if not SETTINGS.get().recording:
        return max_pool2d_values(x, window=window, stride=stride, padding=padding)
    return max_pool2d(x, window=window, stride=stride, padding=padding)[0]


@primitive
def max_pool2d_grad(xp: Any, g: Any, index: Any, *, size: Pair, window: Pair, stride: Pair, padding: Padding) -> Any:
    """Add each window's cotangent to an image of zeros at the window's maximum (the adjoint of `max_pool2d_take`)."""
    place = xp.arange(window[0] * window[1], dtype=xp.uint8).reshape(-1, 1)  # (kh*kw, 1)
    columns = xp.where(index[:, :, :, None, :] == place, g[:, :, :, None, :], xp.zeros((), g.dtype))
    columns = columns.reshape(*g.shape[:3], *window, g.shape[3])
    return fold(columns, size=size, window=window, stride=stride, padding=padding)


@primitive
def max_pool2d_take(xp: Any, x: Any, index: Any, *, window: Pair, stride: Pair, padding: Padding) -> Any:
    """Return the element of each window that `index` names (the adjoint of `max_pool2d_grad`)."""
    columns = unfold(x, window=window, stride=stride, padding=padding)
    n, ho, wo, kh, kw, c = columns.shape
    positions = index[:, :, :, None, :].astype(xp.int64)
    return xp.take_along_axis(columns.reshape(n, ho, wo, kh * kw, c), positions, axis=3)[:, :, :, 0]


max_pool2d.defvjp(
    x=lambda g, x_like, index, window, stride, padding: max_pool2d_grad(
        g[0], index, size=x_like.shape[1:3], window=window, stride=stride, padding=padding
    )
)
max_pool2d_values.defvjp(
    x=lambda g, x, window, stride, padding: max_pool2d_grad(
        g,
        max_pool2d(x, window=window, stride=stride, padding=padding)[1],
        size=x.shape[1:3],
        window=window,
        stride=stride,
        padding=padding,
    )
)
max_pool2d_grad.defvjp(
    g=lambda v, index, window, stride, padding: max_pool2d_take(v, index, window=window, stride=stride, padding=padding)
)
max_pool2d_take.defvjp(
    x=lambda g, x_like, index, window, stride, padding: max_pool2d_grad(
        g, index, size=x_like.shape[1:3], window=window, stride=stride, padding=padding
    )
)


@primitive
def sum_pool2d(xp: Any, x: Any, *, window: Pair, stride: Pair, padding: Padding) -> Any:
    """Return the sum of each window, zeros in the padding (the adjoint of `sum_pool2d_grad`)."""
    return unfold(x, window=window, stride=stride, padding=padding).sum(axis=(3, 4))


@primitive
def sum_pool2d_grad(xp: Any, g: Any, *, size: Pair, window: Pair, stride: Pair, padding: Padding) -> Any:
    """Return images of a size with each cotangent added all over its window (the adjoint of `sum_pool2d`)."""
    columns = xp.broadcast_to(g[:, :, :, None, None, :], (*g.shape[:3], *window, g.shape[3]))
    return fold(columns, size=size, window=window, stride=stride, padding=padding)


sum_pool2d.defvjp(
    x=lambda g, x_like, window, stride, padding: sum_pool2d_grad(
        g, size=x_like.shape[1:3], window=window, stride=stride, padding=padding
    )
)
sum_pool2d_grad.defvjp(
    g=lambda v, window, stride, padding: sum_pool2d(v, window=window, stride=stride, padding=padding)
)


@primitive
def count_pool2d(xp: Any, x: Any, *, window: Pair, stride: Pair, padding: Padding) -> Any:
    """Return how many elements of each window lie inside of the image rather than in its padding: (1, Ho, Wo, 1)."""
    inside = xp.ones((1, *x.shape[1:3], 1), dtype=x.dtype)
    return sum_pool2d.forward(xp, inside, window=window, stride=stride, padding=padding)


count_pool2d.defvjp(x=None)
